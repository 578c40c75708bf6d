"""Noise of a link as data: a Qiskit error by name and strength, or a user's own from a Python file.

Only data and reading; Qiskit is imported where an error object is made, so that describing a link does not load it.
"""

from __future__ import annotations

import math
import runpy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ImpossibleNoise(ValueError):
    """Noise that no qubit can meet; the message says what was expected."""


@dataclass(frozen=True)
class Noise:
    """One of Qiskit's one-qubit errors. `strengths`: probabilities; three (of X, Y, Z) for `pauli`, one otherwise.

    QBER in bases Z, X: depolarizing p/2, p/2 (Qiskit replaces the qubit by I/2 with probability p: not 2p/3) ·
    bit_flip p, 0 · phase_flip 0, p · amplitude_damping p/2 (of the ones alone), (1 − √(1−p))/2 ·
    phase_damping 0, (1 − √(1−p))/2 · pauli pX + pY, pY + pZ.
    """

    name: str
    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ImpossibleNoise(f"no noise is called {self.name!r}: expected {', '.join(NAMES)}")
        count = 3 if self.name == "pauli" else 1
        if len(self.strengths) != count or not all(0 <= p <= 1 for p in self.strengths) or sum(self.strengths) > 1:
            expected = "three probabilities that add up to at most 1" if count == 3 else "a probability from 0 to 1"
            raise ImpossibleNoise(f"{self.name} has strength {self._strength()!r}: expected {expected}")

    def error(self) -> Any:
        """The `QuantumError`."""
        from qiskit_aer import noise as errors

        if self.name in ("bit_flip", "phase_flip", "pauli"):
            letters = {"bit_flip": "X", "phase_flip": "Z", "pauli": "XYZ"}[self.name]
            terms = list(zip(letters, self.strengths, strict=True))
            return errors.pauli_error([*terms, ("I", max(0.0, 1 - sum(self.strengths)))])
        if self.name == "depolarizing":
            return errors.depolarizing_error(self.strengths[0], 1)
        return getattr(errors, f"{self.name}_error")(self.strengths[0])

    def _strength(self) -> str:
        return "/".join(repr(float(p)).removesuffix(".0") for p in self.strengths)

    def __str__(self) -> str:
        return f"{self.name}:{self._strength()}"


NAMES = ("depolarizing", "bit_flip", "phase_flip", "amplitude_damping", "phase_damping", "pauli")


@dataclass(frozen=True, eq=False)
class NoiseFromFile:
    """A user's own error: the file is Python and its `noise` a one-qubit QuantumError or a list of Kraus matrices.

    The file is run, so only a person at a command line may name one; a running link takes noise by name alone.
    """

    path: str
    _error: Any = field(repr=False)

    @classmethod
    def load(cls, path: str | Path) -> NoiseFromFile:
        """Raises ImpossibleNoise for a file that is none, does not run, or has no trace-preserving `noise`."""
        from qiskit.quantum_info import Kraus
        from qiskit_aer.noise import QuantumError

        if not Path(path).is_file():
            raise ImpossibleNoise(f"noise file {path}: there is no such file")
        try:
            noise = runpy.run_path(str(path)).get("noise")
        except (Exception, SystemExit) as error:
            raise ImpossibleNoise(f"noise file {path} does not run: {type(error).__name__}: {error}") from error
        try:
            error = noise if isinstance(noise, QuantumError) else QuantumError(Kraus(noise))
        except Exception as cause:
            raise ImpossibleNoise(
                f"noise file {path}: `noise` is a {type(noise).__name__}: expected a QuantumError of qiskit_aer.noise, "
                "or Kraus matrices that add up to a trace-preserving channel"
            ) from cause
        if error.num_qubits != 1:
            raise ImpossibleNoise(f"noise file {path}: `noise` acts on {error.num_qubits} qubits: expected 1")
        return cls(str(path), error)

    def error(self) -> Any:
        return self._error

    def __str__(self) -> str:
        return f"file:{self.path}"


NoiseTerm = Noise | NoiseFromFile


def noise_from_text(text: str) -> tuple[Noise, ...]:
    """`none`, or terms `NAME:STRENGTH` with commas between, in the order in which a photon meets them.

    Example: `bit_flip:0.01,pauli:0.01/0/0.02`. Raises ImpossibleNoise.
    """
    return () if text in ("", "none") else tuple(_term(term.strip()) for term in text.split(","))


def noise_as_text(noise: tuple[NoiseTerm, ...]) -> str:
    return ",".join(map(str, noise)) or "none"


def _term(text: str) -> Noise:
    name, _, strength = text.partition(":")
    try:
        return Noise(name, tuple(float(number) for number in strength.split("/")))
    except ImpossibleNoise:
        raise
    except ValueError:
        raise ImpossibleNoise(
            f"{text!r} is no noise: expected NAME:STRENGTH, NAME one of {', '.join(NAMES)}, three strengths with / "
            "between for pauli"
        ) from None


@dataclass(frozen=True)
class Disturbance:
    """What happens to every photon between Alice and Bob, in this order: noise, then a turn of the polarisation.

    misalignment: e_d, the probability that a photon is found in the wrong detector in its own basis, 0 to 0.5: a turn
    of the polarisation by arcsin √e_d, the same in both bases.
    """

    noise: tuple[NoiseTerm, ...] = ()
    misalignment: float = 0.0

    @property
    def turn_degrees(self) -> float:
        return math.degrees(math.asin(math.sqrt(self.misalignment)))


UNDISTURBED = Disturbance()
