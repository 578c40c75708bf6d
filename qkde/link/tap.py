"""What an eavesdropper can reach of the pulses that leave Alice, and what she takes home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

Bits = np.ndarray  # shape (n,), uint8, values 0 and 1
Indices = np.ndarray  # shape (k,), positions in a run of pulses, each at most once
Counts = np.ndarray  # shape (k,), numbers of photons


class ImpossibleAttack(ValueError):
    """An attack with a setting out of its range; the message names it."""


class QuantumMemory:
    """One stored photon of each of the pulses at `where` (in ascending order), measured when the bases are known."""

    __slots__ = ("_measure", "where")

    def __init__(self, where: Indices, measure: Callable[[Indices, Bits], Bits]) -> None:
        self.where = where
        self._measure = measure

    def measure(self, positions: Indices, bases: Bits) -> Bits:
        """The results for the pulses where[positions], each in its own basis (0 is Z, 1 is X)."""
        return self._measure(positions, bases)


class Tap:
    """All that Eve can do to the pulses: count their photons, measure them, take photons out, go round the fibre.

    Neither Alice's bits, bases and intensities nor Bob's choices are in here; only a measurement says anything about a
    state. `fibre_transmittance` and `detector_efficiency` are data sheets: she knows them.
    """

    __slots__ = ("_block", "_bypass", "_measure", "_store", "detector_efficiency", "fibre_transmittance",
                 "photon_numbers")  # fmt: skip

    def __init__(
        self, photon_numbers: np.ndarray, fibre_transmittance: float, detector_efficiency: float, **acts: Any
    ) -> None:
        self.photon_numbers = photon_numbers
        self.fibre_transmittance = fibre_transmittance
        self.detector_efficiency = detector_efficiency
        self._measure, self._store, self._block, self._bypass = (
            acts[name] for name in ("measure", "store", "block", "bypass")
        )

    def measure(self, where: Indices, bases: Bits) -> Bits:
        """Measures the pulses at `where`, each in its own basis (0 is Z, 1 is X, 2 her own), and gives the results.

        Each of these pulses goes on as her result prepared anew, in the basis she measured in.
        """
        return self._measure(where, bases)

    def store(self, where: Indices, counts: Counts) -> QuantumMemory:
        """Takes `counts` photons (at least 1, at most what there is) out of each pulse at `where` and keeps one."""
        return self._store(where, counts)

    def block(self, where: Indices) -> None:
        """Nothing of these pulses goes on."""
        self._block(where)

    def bypass(self, where: Indices) -> None:
        """These pulses go to Bob's detectors by a fibre without loss."""
        self._bypass(where)


@dataclass(frozen=True)
class Knowledge:
    """Ground truth for the simulator's user alone: the pulses Eve measured, her bases there and what she found.

    `memory`: photons she still holds, its positions counted from pulse `start`. `own_angle_degrees`: the polarisation
    angle of her basis number 2.
    """

    measured: Indices = field(repr=False)
    bases: Bits = field(repr=False)
    results: Bits = field(repr=False)
    memory: QuantumMemory | None = field(repr=False, default=None)
    own_angle_degrees: float | None = field(repr=False, default=None)
    start: int = field(repr=False, default=0)


def nothing() -> Knowledge:
    return Knowledge(np.empty(0, np.intp), np.empty(0, np.uint8), np.empty(0, np.uint8))


class Attack(Protocol):
    """What Eve does. `str(attack)` is its text form, which `qkde.link.eve.attack_from_text` reads."""

    name: ClassVar[str]

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        """Acts on one run of pulses; `nature` is where Eve's own choices come from.

        An attack with a basis of its own has an attribute `own_angle_degrees`.
        """
        ...
