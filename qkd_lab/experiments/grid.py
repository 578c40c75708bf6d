"""The points of a sweep: every combination of its axes, the last axis running fastest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import log10
from typing import Any

from qkd_lab.configuration import shown
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.parameters import checked_value
from qkde.parameter_sets.keys import is_number

MOST_POINTS = 100_000
EXPECTED = (
    "a list, { from = 0, to = 100, step = 5 } or { from = 1, to = 1e6, points = 7, scale = \"log\" } (scale lin or log)"
)


def points(axes: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """One mapping for each point; a single empty one without axes."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def axis(name: str, written: Any, where: str) -> tuple[Any, ...]:
    """The values of one swept parameter. Raises ExperimentError."""
    values = written if isinstance(written, list) else _range(name, written, where)
    if not values:
        raise ExperimentError(f"{where} {name}: empty, expected {EXPECTED} with a value at least")
    found = tuple(checked_value(name, value, where) for value in values)
    if len(set(found)) < len(found):
        raise ExperimentError(f"{where} {name}: a value is there twice, expected each once")
    return found


def _range(name: str, written: Any, where: str) -> list[float]:
    def wrong(what: str) -> ExperimentError:
        return ExperimentError(f"{where} {name}: {what}, expected {EXPECTED}, got {shown(written)}")

    if not isinstance(written, dict):
        raise wrong("no range")
    if set(written) - {"from", "to", "step", "points", "scale"} or not {"from", "to"} <= set(written):
        raise wrong("not the keys of a range")
    if ("step" in written) == ("points" in written):
        raise wrong("a step or a number of points")
    first, last, scale = written["from"], written["to"], written.get("scale", "lin")
    if not all(map(is_number, (first, last, written.get("step", 1)))) or scale not in ("lin", "log"):
        raise wrong("not a range of numbers")
    if last < first:
        raise wrong("an empty range")
    if "step" in written:
        step = written["step"]
        if step <= 0 or scale == "log" or (last - first) / step >= MOST_POINTS:
            raise wrong(f"a step that is not above 0, on a log scale or makes more than {MOST_POINTS} points")
        # Each from the start, so that rounding does not add up; the end is in where it lies on a step.
        return [round(first + index * step, 12) for index in range(int((last - first) / step + 1e-9) + 1)]
    count = written["points"]
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= MOST_POINTS or last == first:
        raise wrong(f"not from 2 to {MOST_POINTS} points between two ends")
    if scale == "lin":
        return [round(first + (last - first) * index / (count - 1), 12) for index in range(count)]
    if first <= 0:
        raise wrong("a log range that does not begin above 0")
    exponents = [log10(first) + (log10(last) - log10(first)) * index / (count - 1) for index in range(count)]
    return [float(f"{10**exponent:.6g}") for exponent in exponents]
