"""Counts by basis and intensity: what the finite-key formulas with decoys take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, factorial

from qkde.bb84.errors import InvalidParameter


@dataclass(frozen=True)
class Intensities:
    """Mean photon numbers, highest first, and how often Alice takes each. Raises InvalidParameter."""

    means: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.means) != len(self.probabilities):
            raise InvalidParameter(f"{len(self.means)} intensities with {len(self.probabilities)} probabilities")
        falling = all(high > low for high, low in zip(self.means, self.means[1:], strict=False))
        if not falling or not self.means[-1] >= 0:
            raise InvalidParameter(f"intensities are {_list(self.means)}: expected each above the next, none below 0")
        if any(not 0 < probability <= 1 for probability in self.probabilities):
            raise InvalidParameter(f"probabilities of intensities are {_list(self.probabilities)}: expected above 0")
        if abs(sum(self.probabilities) - 1) > 1e-9:
            raise InvalidParameter(f"probabilities of intensities are {_list(self.probabilities)}: expected a sum of 1")

    def photon_probability(self, photon_count: int) -> float:
        """τ_n: that a pulse has n photons, whatever its intensity."""
        pairs = zip(self.means, self.probabilities, strict=True)
        return sum(p * exp(-mean) * mean**photon_count for mean, p in pairs) / factorial(photon_count)


@dataclass(frozen=True)
class BasisCounts:
    """Clicks of one basis where both ends chose it: detections and errors, in the order of the intensities.

    Counts of a run are whole numbers; expected ones need not be. Raises InvalidParameter.
    """

    detected: tuple[float, ...]
    errors: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.detected) != len(self.errors):
            raise InvalidParameter(f"{len(self.detected)} counts of detections with {len(self.errors)} of errors")
        if any(not 0 <= e <= n for n, e in zip(self.detected, self.errors, strict=True)):
            raise InvalidParameter(
                f"errors are {_list(self.errors)} of {_list(self.detected)} detections: expected from 0 to all of them"
            )

    @property
    def detected_count(self) -> float:
        return sum(self.detected)

    @property
    def error_count(self) -> float:
        return sum(self.errors)

    @property
    def qber(self) -> float | None:
        return self.error_count / self.detected_count if self.detected_count else None


def checked_counts(counts: Sequence[BasisCounts], intensities: Intensities, intensity_count: int, proof: str) -> None:
    """Raises InvalidParameter unless there is a count for each of the intensities, as many as the proof has."""
    if len(intensities.means) != intensity_count:
        raise InvalidParameter(f"{len(intensities.means)} intensities: {proof} has {intensity_count}")
    for basis in counts:
        if len(basis.detected) != intensity_count:
            raise InvalidParameter(f"{len(basis.detected)} counts with {intensity_count} intensities")


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
