"""What the points of each kind take: parameters by the names that `qkd-lab bb84` and `qkd-lab rate` have for them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qkd_lab.configuration import shown
from qkd_lab.experiments.errors import ExperimentError
from qkde import parameter_sets
from qkde.bb84.cascade_variants import VARIANTS
from qkde.parameter_sets.keys import is_number
from qkde.rates.predicted import MODELS, Assumptions
from qkde.simulation_settings import INTENSITIES, PHYSICS, ROUND

INTEGERS = ("pulses", "enough_clicks", "max_pulses", "verification_bits", "security_margin_bits", "frame_bits")
TEXTS = ("set", "source", "model", "detection", "proof", "eve", "noise", "reconciliation", "leak_counted")
FLAGS = ("optimize",)

# How a round's frames are cut, and its light, follow from other parameters; pads are for links that go on.
_FOLLOWS = ("pulses_per_frame", "frame_count", "pads_kept", "intensities", "intensity_probabilities")
ROUND_NAMES = (
    "pulses", "set", "source", *(name for name in ROUND if name not in _FOLLOWS), *PHYSICS, "eve_fraction", *INTENSITIES
)  # fmt: skip
# f: what the asymptotic rates take for the reconciliation.
SIMULATION = (*ROUND_NAMES, "enough_clicks", "max_pulses", "error_correction_efficiency")
CASCADE = ("frame_bits", "qber", "reconciliation")
FORMULA = (
    "model", "set", *parameter_sets.KEYS, *(field.name for field in fields(Assumptions)), "optimize"
)  # fmt: skip
LINK_MODEL = "link"  # what the simulated link itself is expected to show
LINK_THEORY = ("model", *ROUND_NAMES, "error_correction_efficiency")
THEORY_MODELS = (*MODELS, LINK_MODEL)
KINDS = ("simulation", "cascade", "theory")
REQUIRED = {
    "simulation": ("pulses",), "cascade": CASCADE, "theory": ("model", "set"), LINK_MODEL: ("model", "pulses")
}  # fmt: skip


def names_of(kind: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What a point of the kind may have; for theory it depends on the model."""
    if kind == "theory":
        return LINK_THEORY if values.get("model") == LINK_MODEL else FORMULA
    return SIMULATION if kind == "simulation" else CASCADE


def required_of(kind: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What it must have."""
    is_link = kind == "theory" and values.get("model") == LINK_MODEL
    return REQUIRED[LINK_MODEL if is_link else kind]


def check_name(name: str, allowed: tuple[str, ...], where: str) -> None:
    """Raises ExperimentError for a name that is not among them."""
    if name not in allowed:
        close = difflib.get_close_matches(name, allowed, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ExperimentError(f"{where} {name}: unknown, {hint}expected some of {', '.join(dict.fromkeys(allowed))}")


def checked_value(name: str, value: Any, where: str) -> Any:
    """The value in its parameter's type: numbers are floats, except whole ones of integers. Raises ExperimentError."""
    if name in TEXTS:
        expected, fits = "a text", isinstance(value, str)
    elif name in FLAGS:
        expected, fits = "true or false", isinstance(value, bool)
    elif name in INTEGERS:
        expected, fits = "an integer", is_number(value) and float(value).is_integer() and abs(value) < 2**63
    else:
        expected, fits = "a finite number", is_number(value) and abs(value) < 1e300
    choices = {"model": THEORY_MODELS, "reconciliation": tuple(VARIANTS)}.get(name)
    if choices and fits:
        expected, fits = f"one of {', '.join(choices)}", value in choices
    if not fits:
        raise ExperimentError(f"{where} {name}: expected {expected}, got {shown(value)}")
    if name in TEXTS or name in FLAGS:
        return value
    return int(value) if name in INTEGERS else float(value)


def resolved(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those of their parameter set, so that a row of results says all and needs no other file.

    Raises InvalidParameterSet.
    """
    if "set" not in values:
        return dict(values)
    from_set = parameter_sets.load(values["set"]).values()
    if kind == "theory" and values.get("model") != LINK_MODEL:
        return from_set | dict(values)
    # `source` goes with the set, and with it the intensities, unless the experiment says otherwise.
    allowed = names_of(kind, values)
    return {name: value for name, value in from_set.items() if name in allowed} | dict(values)
