"""Attacks on pulses of more than one photon: what Eve takes out tells her the bit once the bases are announced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qkde.link.tap import ImpossibleAttack, Knowledge, Tap, nothing


@dataclass(frozen=True)
class _OnAFraction:
    fraction: float = 1.0
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ImpossibleAttack(f"fraction {self.fraction} of {self.name} is out of range: expected 0 to 1")

    def _attacked(self, tap: Tap, nature: np.random.Generator) -> np.ndarray:
        return nature.random(tap.photon_numbers.size) < self.fraction

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> _OnAFraction:
        return cls(*map(float, arguments))

    def __str__(self) -> str:
        return self.name + ("" if self.fraction == 1 else f":{self.fraction!r}")


@dataclass(frozen=True)
class PhotonNumberSplitting(_OnAFraction):
    """Eve counts photons without touching the state, keeps one of every pulse that has more and sends the rest on by a
    fibre without loss; of the single photons she lets through only what Bob's gain then lacks.

    Bob's gain stays what the fibre gives, over all pulses; that of each intensity does not, which is what decoy
    states see (Brassard, Lütkenhaus, Mor, Sanders 2000; Hwang 2003). No errors.
    """

    name: ClassVar[str] = "photon-number-splitting"
    usage: ClassVar[str] = "photon-number-splitting[:FRACTION]"

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        numbers, efficiency = tap.photon_numbers, tap.detector_efficiency
        attacked = self._attacked(tap, nature)
        several, single = np.flatnonzero(attacked & (numbers > 1)), np.flatnonzero(attacked & (numbers == 1))
        through = tap.fibre_transmittance * efficiency
        expected = np.sum(1 - (1 - through) ** numbers[several]) + single.size * through
        from_several = 1 - (1 - efficiency) ** (numbers[several] - 1.0)
        # Her first choice are the pulses she reads; single photons fill up, and whatever is too much she blocks.
        read = several[nature.random(several.size) < min(1.0, expected / max(from_several.sum(), 1e-300))]
        missing = max(0.0, expected - from_several.sum())
        passed = nature.random(single.size) < missing / max(single.size * efficiency, 1e-300)
        memory = tap.store(read, np.ones(read.size, np.uint8))
        tap.block(np.concatenate([np.setdiff1d(several, read, assume_unique=True), single[~passed]]))
        tap.bypass(np.concatenate([read, single[passed]]))
        found = nothing()
        return Knowledge(found.measured, found.bases, found.results, memory)


@dataclass(frozen=True)
class BeamSplitting(_OnAFraction):
    """Eve puts in a beam splitter that takes as much light as the fibre would lose, and sends the rest on without loss.

    Nobody can see it: gains and errors stay as they are. She reads every pulse of which both she and Bob get light
    (Bennett, Bessette, Brassard, Salvail, Smolin 1992).
    """

    name: ClassVar[str] = "beam-splitting"
    usage: ClassVar[str] = "beam-splitting[:FRACTION]"

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        where = np.flatnonzero(self._attacked(tap, nature) & (tap.photon_numbers > 0))
        taken = nature.binomial(tap.photon_numbers[where], 1 - tap.fibre_transmittance)
        tap.bypass(where)
        memory = tap.store(where[taken > 0], taken[taken > 0])
        found = nothing()
        return Knowledge(found.measured, found.bases, found.results, memory)
