"""Alice's source: how many photons her pulses have."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np


class ImpossibleSource(ValueError):
    """A source no Alice can have; the message names the parameter and its range."""


@dataclass(frozen=True)
class SinglePhotons:
    """One photon a pulse."""

    name: ClassVar[str] = "single-photon"

    def settings(self) -> dict[str, Any]:
        return {"source": self.name}

    def round_settings(self) -> dict[str, Any]:
        """What both ends must agree on, by the names of `qkde.bb84.parameters.RoundParameters`."""
        return {"intensities": (), "intensity_probabilities": ()}


@dataclass(frozen=True, kw_only=True)
class WeakCoherentPulses:
    """Laser pulses of random phase: Poisson photon numbers with the mean of the intensity Alice drew for the pulse.

    Intensities are mean photon numbers, the signal's above 0, each above the next; the probabilities add up to 1.
    Raises ImpossibleSource.
    """

    signal_intensity: float = 0.5
    decoy_intensity: float = 0.1
    vacuum_intensity: float = 0.0
    signal_probability: float = 0.7
    decoy_probability: float = 0.2
    vacuum_probability: float = 0.1
    name: ClassVar[str] = "weak-coherent"

    def __post_init__(self) -> None:
        for what, value in vars(self).items():
            most, kind = (10, "a mean photon number") if what.endswith("intensity") else (1, "a probability")
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ImpossibleSource(f"{what} is {value!r}: expected {kind} from 0 to {most}")
        if not self.signal_intensity:
            raise ImpossibleSource("signal_intensity is 0: expected a mean photon number above 0, up to 10")
        if not self.signal_intensity > self.decoy_intensity > self.vacuum_intensity:
            raise ImpossibleSource(
                f"signal_intensity {self.signal_intensity}, decoy_intensity {self.decoy_intensity}, vacuum_intensity "
                f"{self.vacuum_intensity}: expected each above the next"
            )
        if abs(sum(self.probabilities) - 1) > 1e-9:
            raise ImpossibleSource(
                f"signal_probability, decoy_probability and vacuum_probability add up to {sum(self.probabilities):g}: "
                "expected 1"
            )

    @property
    def intensities(self) -> tuple[float, float, float]:
        return astuple(self)[:3]

    @property
    def probabilities(self) -> tuple[float, float, float]:
        return astuple(self)[3:]

    @property
    def sent(self) -> tuple[tuple[str, float, float], ...]:
        """(name, intensity, probability) of those that are sent at all, as `RoundParameters` has them."""
        named = zip(("signal", "decoy", "vacuum"), self.intensities, self.probabilities, strict=True)
        return tuple(intensity for intensity in named if intensity[2] > 0)

    def settings(self) -> dict[str, Any]:
        return {"source": self.name, **vars(self)}

    def round_settings(self) -> dict[str, Any]:
        """What both ends must agree on, by the names of `qkde.bb84.parameters.RoundParameters`."""
        return {
            "intensities": tuple(float(mean) for _, mean, _ in self.sent),
            "intensity_probabilities": tuple(float(probability) for _, _, probability in self.sent),
        }


Source = SinglePhotons | WeakCoherentPulses


def poisson(intensities: tuple[float, ...], choices: np.ndarray, nature: np.random.Generator) -> np.ndarray:
    """How many photons laser pulses of mean photon numbers intensities[choices[i]] have: uint8, shape of `choices`."""
    numbers = np.zeros(choices.shape, np.uint8)
    for index, mean in enumerate(intensities):
        if mean:
            where = np.flatnonzero(choices == index)
            numbers[where] = np.minimum(nature.poisson(mean, where.size), 255)
    return numbers
