"""From rows of results to what is drawn: for each panel its curves, with the mean and the deviation at each x."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from qkd_lab.experiments.quantities import label
from qkd_lab.experiments.results import Results

COUNTED = "1 σ of what was counted"


@dataclass(frozen=True)
class Curve:
    """`sigma`: one standard deviation of each y, None where nothing tells it; `sigma_means`: what it is made of.

    `distinct`: the values of the axes that are not along x, by which curves of one series differ.
    """

    label: str
    kind: str
    distinct: tuple[Any, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    sigma: tuple[float | None, ...]
    sigma_means: str | None


def curves_of(results: Results, panel: Mapping[str, Any]) -> Iterator[Curve]:
    """`panel` as in the header of the results. A series without such an x or y has no curve."""
    for series in results.header["experiment"]["series"]:
        if panel["series"] and series["name"] not in panel["series"]:
            continue
        rows = [row for row in results.rows if row["series"] == series["name"] and _is_in(row, panel["where"])]
        drawn = [y for y in panel["y"] if any(_values(row, panel["x"], y) for row in rows)]
        others = [name for name in series["swept"] if name != panel["x"] and name not in panel["where"]]
        for y in drawn:
            groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
            for row in rows:
                groups.setdefault(tuple(row["parameters"][name] for name in others), []).append(row)
            for distinct, members in groups.items():
                parts = [series["name"], *map(_with_name, others, distinct), *([label(y)] if len(drawn) > 1 else [])]
                if curve := _curve(", ".join(parts), series["kind"], distinct, members, panel["x"], y):
                    yield curve


def _curve(
    name: str, kind: str, distinct: tuple[Any, ...], rows: Iterable[dict[str, Any]], x: str, y: str
) -> Curve | None:
    at: dict[float, list[tuple[float, float | None]]] = {}
    for row in rows:
        if values := _values(row, x, y):
            at.setdefault(values[0], []).append((values[1], row["result"].get(f"{y}_sigma")))
    if not at:
        return None
    places = sorted(at)
    deviations = [_deviation(at[place]) for place in places]
    most = max(len(found) for found in at.values())
    counted = all(sigma is not None for found in at.values() for _, sigma in found)
    repeated = f"1 σ of the mean over {most} repetitions" if most > 1 else None
    return Curve(
        name,
        kind,
        distinct,
        tuple(places),
        tuple(mean(value for value, _ in at[place]) for place in places),
        tuple(deviations),
        COUNTED if counted else repeated,
    )


def _deviation(found: list[tuple[float, float | None]]) -> float | None:
    """Of the mean: from the deviations of each where all have one, else from how they differ."""
    sigmas = [sigma for _, sigma in found if sigma is not None]
    if len(sigmas) == len(found):
        return sqrt(sum(sigma**2 for sigma in sigmas)) / len(found)
    return stdev(value for value, _ in found) / sqrt(len(found)) if len(found) > 1 else None


def _values(row: dict[str, Any], x: str, y: str) -> tuple[float, float] | None:
    x_value = row["parameters"].get(x, row["result"].get(x))
    y_value = row["result"].get(y)
    return (x_value, y_value) if _is_number(x_value) and _is_number(y_value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_in(row: dict[str, Any], where: Mapping[str, Any]) -> bool:
    return all(row["parameters"].get(name, wanted) == wanted for name, wanted in where.items())


def _with_name(name: str, value: Any) -> str:
    """For a legend: without the unit in brackets."""
    return f"{label(name).split(' (')[0]} {value if isinstance(value, str) else f'{value:g}'}"
