"""What nature does on a link: loss, noise, detectors and Eve. Parameters only; `qkde.link.channel` lets them act."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from qkde.link.eve import NoEve, attack_from_text
from qkde.link.noise import (
    Disturbance,
    ImpossibleNoise,
    Noise,
    NoiseFromFile,
    NoiseTerm,
    noise_as_text,
    noise_from_text,
)
from qkde.link.tap import Attack


class ImpossiblePhysics(ValueError):
    """A setting no link can have; the message names it, its range and what to do."""


@dataclass(frozen=True, kw_only=True)
class LinkPhysics:
    """The settings of a link. Raises ImpossiblePhysics outside their ranges.

    loss_db: loss beside the fibre's, 0 to 1000. distance_km, attenuation_db_per_km: of the fibre.
    A photon arrives at Bob's detectors with probability 10^(−(loss_db + attenuation·distance)/10).
    depolarizing: probability p that a qubit is replaced by the maximally mixed state, 0 to 1; adds p/2 to the QBER.
    noise: more of it, see `qkde.link.noise`. misalignment: e_d, a photon's probability of the wrong detector, 0 to 0.5.
    detector_efficiency: η_Bob, above 0 up to 1. dark_count_probability: Y0, that a pulse without light clicks, both
    detectors together. dead_time_s: after a click neither detector clicks for so long (non-paralysable).
    afterpulse_probability: that a click is followed by another of the same detector, at the first pulse after the dead
    time. repetition_rate_hz: pulses per simulated second. eve: who listens.
    """

    loss_db: float = 0.0
    depolarizing: float = 0.0
    eve: Attack = NoEve()
    distance_km: float = 0.0
    attenuation_db_per_km: float = 0.2
    misalignment: float = 0.0
    noise: tuple[NoiseTerm, ...] = ()
    detector_efficiency: float = 1.0
    dark_count_probability: float = 0.0
    dead_time_s: float = 0.0
    afterpulse_probability: float = 0.0
    repetition_rate_hz: float = 1e8

    def __post_init__(self) -> None:
        for name, (low, high, expected) in RANGES.items():
            value = getattr(self, name)
            # bool is a Real to Python; NaN fails every comparison and so the range check.
            if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
                raise ImpossiblePhysics(f"{name} is {value!r}: expected {expected}")

    @property
    def fibre_transmittance(self) -> float:
        """The probability that a photon arrives at Bob's detectors."""
        return 10 ** (-(self.loss_db + self.attenuation_db_per_km * self.distance_km) / 10)

    @property
    def transmittance(self) -> float:
        """The probability that a photon of Alice's makes a click."""
        return self.fibre_transmittance * self.detector_efficiency

    @property
    def disturbance(self) -> Disturbance:
        """What every photon's state meets."""
        depolarizing = (Noise("depolarizing", (float(self.depolarizing),)),) if self.depolarizing else ()
        return Disturbance(depolarizing + self.noise, self.misalignment)

    @property
    def dead_pulses(self) -> int:
        """For how many pulses after a click nothing clicks."""
        return round(self.dead_time_s * self.repetition_rate_hz)

    def changed(self, /, **settings: Any) -> LinkPhysics:
        """A copy with some settings replaced; `eve` and `noise` may be text. Raises ImpossiblePhysics."""
        names = [field.name for field in fields(self)]
        if unknown := sorted(set(settings) - set(names)):
            raise ImpossiblePhysics(f"a link has no setting {', '.join(unknown)}: expected some of {', '.join(names)}")
        if "eve" in settings:
            settings["eve"] = _attack(settings["eve"])
        if "noise" in settings:
            settings["noise"] = _noise(settings["noise"])
        return replace(self, **settings)

    def settings(self) -> dict[str, float | str]:
        """The settings as plain values, beyond the first three only those that differ from a plain link's:
        `LinkPhysics().changed(**settings())` gives them back.
        """
        text = {"eve": str(self.eve), "noise": noise_as_text(self.noise)}
        return {
            field.name: text.get(field.name, getattr(self, field.name))
            for field in fields(self)
            if field.name in ALWAYS_SHOWN or getattr(self, field.name) != field.default
        }


ALWAYS_SHOWN = ("loss_db", "depolarizing", "eve")
RANGES = {
    "loss_db": (0, 1000, "a loss in dB from 0 to 1000"),
    "depolarizing": (0, 1, "a probability from 0 to 1"),
    "distance_km": (0, 10_000, "a length in km from 0 to 10000"),
    "attenuation_db_per_km": (0, 100, "an attenuation in dB/km from 0 to 100"),
    "misalignment": (0, 0.5, "a probability from 0 to 0.5"),
    "detector_efficiency": (sys.float_info.min, 1, "a probability above 0, up to 1"),
    "dark_count_probability": (0, 1 - sys.float_info.epsilon, "a probability per pulse from 0 to below 1"),
    "dead_time_s": (0, 1, "a time in s from 0 to 1"),
    "afterpulse_probability": (0, 1 - sys.float_info.epsilon, "a probability from 0 to below 1"),
    "repetition_rate_hz": (1, 1e12, "a rate in Hz from 1 to 1e12"),
}


def _attack(eve: Any) -> Attack:
    if not isinstance(eve, str):
        if callable(getattr(eve, "on", None)):
            return eve
        raise ImpossiblePhysics(f"eve is {eve!r}: expected text such as none or intercept-resend:0.3")
    try:
        return attack_from_text(eve)
    except ValueError as error:
        raise ImpossiblePhysics(f"eve: {error}") from error


def _noise(noise: Any) -> tuple[NoiseTerm, ...]:
    if isinstance(noise, tuple) and all(isinstance(term, Noise | NoiseFromFile) for term in noise):
        return noise
    if not isinstance(noise, str):
        raise ImpossiblePhysics(f"noise is {noise!r}: expected text such as none or bit_flip:0.02")
    try:
        return noise_from_text(noise)
    except ImpossibleNoise as error:
        raise ImpossiblePhysics(f"noise: {error}") from error
