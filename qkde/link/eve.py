"""Eve's attacks on a link: data that can be written as text, and what each does to the pulses that pass her.

Another attack is one more class here with a `name`, an `on` that acts on a `Tap`, and a line in ATTACKS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

Bits = np.ndarray  # shape (n,), uint8, values 0 and 1
Indices = np.ndarray  # shape (k,), positions in a run of pulses, each at most once


class Tap:
    """All that Eve can reach of the pulses that leave Alice: how many photons each has, and measuring them.

    Neither Alice's bits and bases nor Bob's choices are in here; only a measurement says anything about a state.
    """

    __slots__ = ("_measure", "photon_numbers")

    def __init__(self, photon_numbers: np.ndarray, measure: Callable[[Indices, Bits], Bits]) -> None:
        self.photon_numbers = photon_numbers
        self._measure = measure

    def measure(self, where: Indices, bases: Bits) -> Bits:
        """Measures the pulses at `where`, each in its own basis (0 is Z, 1 is X), and gives the results.

        Each of these pulses goes on as her result prepared anew, in the basis she measured in.
        """
        return self._measure(where, bases)


@dataclass(frozen=True)
class Knowledge:
    """Ground truth for the simulator's user alone: the pulses Eve measured, her bases there and what she found."""

    measured: Indices = field(repr=False)
    bases: Bits = field(repr=False)
    results: Bits = field(repr=False)


class Attack(Protocol):
    """What Eve does. `str(attack)` is its text form, which `attack_from_text` reads."""

    name: ClassVar[str]

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        """Acts on one run of pulses; `nature` is where Eve's own choices come from."""
        ...


@dataclass(frozen=True)
class NoEve:
    """Nobody on the line."""

    name: ClassVar[str] = "none"

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        return Knowledge(np.empty(0, np.intp), np.empty(0, np.uint8), np.empty(0, np.uint8))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class InterceptResend:
    """Eve measures each pulse with probability `fraction` (0..1), in a random basis, and sends her result on.

    Adds fraction/4 to the QBER of a channel without noise (Bennett and Brassard 1984).
    """

    fraction: float
    name: ClassVar[str] = "intercept-resend"

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction} of {self.name} is out of range: expected 0 to 1")

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        where = np.flatnonzero(nature.random(tap.photon_numbers.size) < self.fraction)
        bases = nature.integers(0, 2, where.size, dtype=np.uint8)
        return Knowledge(where, bases, tap.measure(where, bases))

    def __str__(self) -> str:
        return f"{self.name}:{repr(float(self.fraction)).removesuffix('.0')}"


def attack_from_text(text: str) -> Attack:
    """`none` or `intercept-resend:FRACTION`. Raises ValueError, saying what is expected, for anything else."""
    name, separator, argument = text.partition(":")
    if name == NoEve.name and not separator:
        return NoEve()
    if name == InterceptResend.name and separator:
        try:
            fraction = float(argument)
        except ValueError:
            fraction = math.nan
        return InterceptResend(fraction)
    raise ValueError(f"{text!r} is not an attack: expected none or intercept-resend:FRACTION, FRACTION from 0 to 1")
