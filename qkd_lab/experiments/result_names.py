"""What a point's result has numbers for, known before anything is computed: so that a figure is refused in time.

Some are there for some points only, as a rate needs enough counts. A test compares the names with what is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qkd_lab.experiments.parameters import LINK_MODEL
from qkde.rates.optimum import CHOSEN

_LIGHTS = ("signal", "decoy", "vacuum")
_BASES = ("key", "test")
_RATES_BY_LIGHT = tuple(f"{light}_{rate}" for light in _LIGHTS for rate in ("gain", "qber_key", "qber_test"))
_COUNTS_BY_LIGHT = tuple(
    f"{light}_{what}"
    for light in _LIGHTS
    for what in ("pulses", "clicks", *(f"{of}_{basis}" for of in ("detected", "errors") for basis in _BASES))
)
SIMULATION = (
    "qber", "qber_test", "qber_key", "gain", "secret_bits_per_pulse", "ideal_rate", "gllp_rate", "vacuum_weak_rate",
    "reconciliation_efficiency", "reconciliation_messages", "eve_information_per_key_bit", "rounds", "aborted_rounds",
    "pulses_sent", "detected_pulses", "sifted_bits", "secret_bits", "detected_key", "corrected_key", "errors_key",
    "disclosed_test", "errors_test", "bits_disclosed", "errors_disclosed", *_RATES_BY_LIGHT, *_COUNTS_BY_LIGHT,
)  # fmt: skip
CASCADE = ("reconciliation_efficiency", "reconciliation_messages", "disclosed_parities", "bits_per_s")
LINK_THEORY = ("gain", "qber_key", "qber_test", "secret_bits_per_pulse", *_RATES_BY_LIGHT)
FORMULA = (
    "gain", "qber", "secret_bits_per_pulse", "secret_bits_per_second", "pulses_sent", "phase_error_bound",
    "single_photon_yield", "single_photon_error_rate",
)  # fmt: skip


def results_of(kind: str, points: tuple[Mapping[str, Any], ...]) -> tuple[str, ...]:
    """What some point of a series may have."""
    if kind != "theory":
        return SIMULATION if kind == "simulation" else CASCADE
    return tuple(dict.fromkeys(name for point in points for name in _of_theory(point)))


def _of_theory(point: Mapping[str, Any]) -> Iterator[str]:
    if point["model"] == LINK_MODEL:
        yield from LINK_THEORY
        return
    yield from FORMULA
    if point.get("optimize"):
        yield from CHOSEN[point["model"]]
