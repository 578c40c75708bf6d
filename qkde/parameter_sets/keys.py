"""The keys of a parameter set's file: which table has which, and the range of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any


class InvalidParameterSet(ValueError):
    """A parameter set that describes no link; the message names the parameter, its range and the file, if any."""


@dataclass(frozen=True)
class Key:
    """What is expected of a value, in words and as a check."""

    expected: str
    fits: Callable[[Any], bool]

    def check(self, name: str, value: Any) -> None:
        if not self.fits(value):
            raise InvalidParameterSet(f"{name} is {value!r}: expected {self.expected}")


def is_number(value: Any) -> bool:
    """A finite number; TOML has inf and nan, and a bool is an int to Python."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _closed(low: float, high: float, what: str) -> Key:
    return Key(f"{what} from {low:g} to {high:g}", lambda value: is_number(value) and low <= value <= high)


def _above(low: float, high: float, what: str) -> Key:
    return Key(f"{what} above {low:g}, up to {high:g}", lambda value: is_number(value) and low < value <= high)


def _below(low: float, high: float, what: str) -> Key:
    return Key(f"{what} from {low:g} to below {high:g}", lambda value: is_number(value) and low <= value < high)


def _open(low: float, high: float, what: str) -> Key:
    return Key(f"{what} above {low:g} and below {high:g}", lambda value: is_number(value) and low < value < high)


SOURCES = ("single-photon", "weak-coherent")
PROBABILITY = _closed(0, 1, "a probability")
INTENSITY = _closed(0, 10, "a mean photon number")

TABLES: dict[str, dict[str, Key]] = {
    "source": {
        "source": Key(" or ".join(SOURCES), lambda value: value in SOURCES),
        "repetition_rate_hz": _above(0, 1e12, "a rate in Hz"),
        "signal_intensity": _above(0, 10, "a mean photon number"),
        "decoy_intensity": INTENSITY,
        "vacuum_intensity": INTENSITY,
        "signal_probability": _above(0, 1, "a probability"),
        "decoy_probability": PROBABILITY,
        "vacuum_probability": PROBABILITY,
        "key_basis_probability": _open(0, 1, "a probability"),
    },
    "channel": {
        "attenuation_db_per_km": _closed(0, 100, "an attenuation in dB/km"),
        "distance_km": _closed(0, 10_000, "a length in km"),
        "misalignment": _closed(0, 0.5, "a probability"),
    },
    "detector": {
        "detector_efficiency": _above(0, 1, "a probability"),
        "dark_count_probability": _below(0, 1, "a probability per pulse"),
        "dead_time_s": _closed(0, 1, "a time in s"),
        "afterpulse_probability": _below(0, 1, "a probability"),
    },
    "post_processing": {
        "error_correction_efficiency": _closed(1, 10, "a factor"),
    },
}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


TEXTS: dict[str, Key] = {
    "description": Key("a text", lambda value: isinstance(value, str)),
    "references": Key("a list of texts", _is_texts),
}
