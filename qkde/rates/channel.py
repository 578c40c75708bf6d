"""What Bob is expected to see: gains, yields and error rates of a link, without Eve.

`first-order` is the model of Lo, Ma, Chen (PRL 94, 230504, 2005) and Ma, Qi, Zhao, Lo (PRA 72, 012326, 2005):

    Q_μ = Y0 + 1 − e^(−ημ),  E_μ·Q_μ = Y0/2 + e_d·(1 − e^(−ημ)),  Y_n = Y0 + η_n,  e_n·Y_n = Y0/2 + e_d·η_n,
    η_n = 1 − (1 − η)^n

It counts a click by light and darkness twice and knows no double clicks, which is right for small ημ only.
`threshold` is exact for two threshold detectors that dark-count independently, where each photon takes the wrong one
with probability e_d and a double click becomes a random bit (Lütkenhaus, PRA 59, 3301, 1999): at ημ = 0.48 and
e_d = 3.3 % it gives 3.357 % where the first order has 3.300 %.

Afterpulses as in Lim et al. (PRA 89, 022307, 2014): a click is followed by another, of random value, with
probability p_ap, which takes D clicks to D·(1 + p_ap).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, sqrt

from qkde.bb84.errors import InvalidParameter
from qkde.bb84.ranges import check_range
from qkde.parameter_sets import ParameterSet

DETECTIONS = ("first-order", "threshold")


@dataclass(frozen=True)
class Clicks:
    """Per pulse: the probability of a click (gain Q or yield Y), and of a click with the wrong bit (E·Q or e·Y)."""

    gain: float
    error_gain: float

    @property
    def qber(self) -> float | None:
        """The error rate; None where nothing clicks."""
        return self.error_gain / self.gain if self.gain > 0 else None


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Source to click. Raises InvalidParameter outside the ranges.

    transmittance: η, from 0 to 1, of fibre and detectors together. dark_count_probability: Y0 per pulse, all
    detectors together. misalignment: e_d, 0 to 1/2. afterpulse_probability: p_ap. detection: see the module.
    """

    transmittance: float
    dark_count_probability: float = 0.0
    misalignment: float = 0.0
    afterpulse_probability: float = 0.0
    detection: str = "first-order"

    def __post_init__(self) -> None:
        check_range("transmittance", self.transmittance, 0, 1)
        check_range("dark_count_probability", self.dark_count_probability, 0, 1)
        check_range("misalignment", self.misalignment, 0, 0.5)
        check_range("afterpulse_probability", self.afterpulse_probability, 0, 1)
        if self.detection not in DETECTIONS:
            raise InvalidParameter(f"detection is {self.detection!r}: expected {' or '.join(DETECTIONS)}")

    @classmethod
    def of(cls, link: ParameterSet, detection: str = "first-order") -> Channel:
        """The channel of a parameter set."""
        return cls(
            transmittance=link.transmittance,
            dark_count_probability=link.dark_count_probability,
            misalignment=link.misalignment,
            afterpulse_probability=link.afterpulse_probability,
            detection=detection,
        )

    def coherent(self, intensity: float) -> Clicks:
        """Q_μ and E_μ·Q_μ of a phase-randomised coherent pulse with `intensity` photons on average, 0 or more."""
        if not intensity >= 0:
            raise InvalidParameter(f"intensity is {intensity:g}: expected a mean photon number of 0 or more")
        # The photons that reach one detector are Poisson distributed, whatever reaches the other.
        return self._clicks(lambda arriving: exp(-arriving * intensity))

    def photons(self, photon_count: int) -> Clicks:
        """Y_n and e_n·Y_n of a pulse of exactly n photons."""
        if photon_count < 0:
            raise InvalidParameter(f"photon_count is {photon_count}: expected 0 or more")
        return self._clicks(lambda arriving: (1 - arriving) ** photon_count)

    def _clicks(self, silent) -> Clicks:
        """`silent(x)`: the probability that no photon does what each does with probability x."""
        eta, wrong, dark = self.transmittance, self.misalignment, self.dark_count_probability
        if self.detection == "first-order":
            lit = 1 - silent(eta)
            gain, error_gain = min(1.0, dark + lit), dark / 2 + wrong * lit
        else:
            no_dark = sqrt(1 - dark)  # of one detector
            right_silent = no_dark * silent(eta * (1 - wrong))
            wrong_silent = no_dark * silent(eta * wrong)
            both_silent = (1 - dark) * silent(eta)
            gain = 1 - both_silent
            # Only the wrong one clicks, or both do and the coin is wrong.
            error_gain = (1 + right_silent - wrong_silent - both_silent) / 2
        after = self.afterpulse_probability
        return Clicks(min(1.0, gain * (1 + after)), error_gain + gain * after / 2)


def live_fraction(gain: float, repetition_rate_hz: float, dead_time_s: float) -> float:
    """The part of the pulses that meet a detector that is awake, 1/(1 + Q·m): dead time, not paralysable.

    m pulses pass while it sleeps; none where the next comes after the dead time. For m ≫ 1 it is r/(1 + r·τ).
    """
    pulses_missed = max(0, ceil(repetition_rate_hz * dead_time_s) - 1)
    return 1 / (1 + gain * pulses_missed)
