"""The papers' rates of infinitely long keys, at the gains and error rates that a simulation counted.

What an experimenter would put into the formula; no key of that rate was made. `*_sigma` by propagation of the counts'
Poisson deviations, so that there is no rate where clicks or errors are too few for it. Rates are per pulse, of signal
where there are decoys, and not cut off at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

from qkde.link.source import SinglePhotons, WeakCoherentPulses
from qkde.rates.asymptotic import decoy_rate, gllp_rate, single_photon_rate, vacuum_weak_bounds
from qkde.simulation_settings import Setting

LEAST_COUNT = 5


def asymptotic_rates(made: Setting, counts: Mapping[str, float], efficiency: float) -> dict[str, float | None]:
    """`counts`: those of a simulated point. Of the models `ideal`, or `gllp` and `vacuum-weak`, where there are any."""
    p = made.parameters.key_basis_probability
    common = {"efficiency": efficiency, "sifting": p**2 + (1 - p) ** 2}
    if isinstance(made.source, SinglePhotons):
        if not counts["bits_disclosed"]:
            return {}

        def ideal(clicks: float, errors: float) -> float:
            gain = min(1.0, clicks / counts["pulses_sent"])
            return single_photon_rate(gain, min(1.0, errors / counts["bits_disclosed"]), **common)

        return _with_sigma("ideal_rate", ideal, (counts["detected_pulses"], counts["errors_disclosed"]))
    return _of_weak_pulses(made.source, counts, common)


def _of_weak_pulses(
    source: WeakCoherentPulses, counts: Mapping[str, float], common: Mapping[str, float]
) -> dict[str, float | None]:
    def detected(light: str) -> float:
        return counts[f"{light}_detected_key"] + counts[f"{light}_detected_test"]

    def errors(light: str) -> float:
        return counts[f"{light}_errors_key"] + counts[f"{light}_errors_test"]

    def gllp(clicks: float, wrong: float) -> float:
        gain = min(1.0, clicks / counts["signal_pulses"])
        return gllp_rate(gain, min(1.0, wrong / detected("signal")), source.signal_intensity, **common)

    def vacuum_weak(clicks: float, wrong: float, decoy_clicks: float, decoy_wrong: float, dark: float) -> float:
        gain = min(1.0, clicks / counts["signal_pulses"])
        single = vacuum_weak_bounds(
            signal_intensity=source.signal_intensity,
            decoy_intensity=source.decoy_intensity,
            signal_gain=gain,
            decoy_gain=decoy_clicks / counts["decoy_pulses"],
            decoy_qber=decoy_wrong / detected("decoy"),
            vacuum_gain=dark / counts["vacuum_pulses"],
        )
        return decoy_rate(gain, min(1.0, wrong / detected("signal")), source.signal_intensity, single, **common)

    signal = counts["signal_clicks"], errors("signal")
    if min(signal) < LEAST_COUNT:
        return {}
    rates = _with_sigma("gllp_rate", gllp, signal)
    has_vacuum = source.vacuum_intensity == 0 and counts.get("vacuum_pulses")
    if has_vacuum and counts.get("decoy_pulses") and errors("decoy") >= LEAST_COUNT:
        seen = (*signal, counts["decoy_clicks"], errors("decoy"), counts["vacuum_clicks"])
        rates |= _with_sigma("vacuum_weak_rate", vacuum_weak, seen)
    return rates


def _with_sigma(name: str, rate: Callable[..., float], counts: tuple[float, ...]) -> dict[str, float]:
    """Every count a Poisson number; one of 0 is taken to be as uncertain as one of 1."""
    variance = 0.0
    for index, count in enumerate(counts):
        deviation = sqrt(max(count, 1))
        up, down = list(counts), list(counts)
        up[index], down[index] = count + deviation, max(0.0, count - deviation)
        variance += ((rate(*up) - rate(*down)) / 2) ** 2
    return {name: rate(*counts), f"{name}_sigma": sqrt(variance)}
