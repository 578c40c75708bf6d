"""An experiment: a TOML file with what is fixed, what is swept, how often, and which figure comes of it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qkd_lab.configuration import shown
from qkd_lab.experiments import grid
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.parameters import KINDS, check_name, checked_value, names_of, required_of, resolved
from qkd_lab.experiments.result_names import results_of
from qkde.parameter_sets import InvalidParameterSet

SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Series:
    """Points of one kind that belong together: a curve, or one for each value of the axes that are not drawn along x.

    `points`: all parameters of each, those of the parameter set too. `swept`: the names of the axes.
    """

    name: str
    kind: str
    repetitions: int
    swept: tuple[str, ...]
    points: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes of the figure. `series`: the names of those that are drawn; empty for all that have the y.
    `where`: values of parameters that a point must have to be drawn.
    """

    x: str
    y: tuple[str, ...]
    x_scale: str = "linear"
    y_scale: str = "linear"
    series: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    name: str
    title: str
    seed: int
    series: tuple[Series, ...]
    panels: tuple[Panel, ...]
    description: str = ""
    references: tuple[str, ...] = ()

    @property
    def content_hash(self) -> str:
        """Of all that is computed, in hexadecimal; title and figure may change without it."""
        computed = {"seed": self.seed, "series": [asdict(series) for series in self.series]}
        return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """What a results file says of it: all but the points, which are in its rows."""
        series = [{**asdict(series), "points": len(series.points)} for series in self.series]
        return {**asdict(self), "series": series, "hash": self.content_hash}


def shipped() -> tuple[str, ...]:
    """The experiments that come with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def read(name_or_path: str) -> Experiment:
    """A shipped experiment by its name, or a file that ends in .toml. Raises ExperimentError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in shipped():
            raise ExperimentError(
                f"no experiment {name_or_path!r}: expected {', '.join(shipped())} or a path that ends in .toml"
            )
        path = SHIPPED / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"{path}: {error.strerror or error}, expected an experiment") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ExperimentError(f"{path}: not a TOML file: {error}") from error
    try:
        return _experiment(path.stem, content)
    except ExperimentError as error:
        raise ExperimentError(f"{path}: {error}") from error


def _experiment(name: str, content: Mapping[str, Any]) -> Experiment:
    values = _read(content, EXPERIMENT, "key")
    series = tuple(
        _series(values, table, f"series {number}") for number, table in enumerate(values.pop("series"), start=1)
    )
    names = [one.name for one in series]
    if len(set(names)) < len(names):
        raise ExperimentError("key series: a name is there twice, expected each once")
    panels = tuple(
        _panel(table, series, f"panel {number}") for number, table in enumerate(values.pop("panels"), start=1)
    )
    given = {key: values[key] for key in ("title", "seed", "description") if key in values}
    return Experiment(name, series=series, panels=panels, references=tuple(values.get("references", ())), **given)


def _series(shared: Mapping[str, Any], table: Mapping[str, Any], where: str) -> Series:
    values = _read(table, SERIES, f"{where}, key")
    where = f"{where} ({values['name']}), key"
    kind = values["kind"]
    fixed = {**shared["fixed"], **values["fixed"]}
    axes = values.get("sweep", shared["sweep"])
    if "model" in axes:
        raise ExperimentError(f"{where} model: swept, expected it fixed: a series for each")
    if "model" in fixed:  # which other names there are depends on it
        checked_value("model", fixed["model"], where)
    allowed = names_of(kind, fixed)
    for name in (*fixed, *axes):
        check_name(name, allowed, where)
    if both := set(fixed) & set(axes):
        raise ExperimentError(f"{where} {min(both)}: fixed and swept, expected one of them")
    for name in required_of(kind, fixed):
        if name not in fixed and name not in axes:
            raise ExperimentError(f"{where} {name}: missing, expected it among the fixed parameters or the swept ones")
    chosen = {name: checked_value(name, value, where) for name, value in fixed.items()}
    swept = {name: grid.axis(name, written, where) for name, written in axes.items()}
    count = 1
    for axis in swept.values():
        count *= len(axis)
    if count > grid.MOST_POINTS:
        raise ExperimentError(f"{where} sweep: {count} points, expected at most {grid.MOST_POINTS}")
    try:
        points = tuple(resolved(kind, chosen | point) for point in grid.points(swept))
    except InvalidParameterSet as error:
        raise ExperimentError(f"{where} set: {error}") from error
    # A formula gives the same every time.
    repetitions = 1 if kind == "theory" else values.get("repetitions", shared.get("repetitions", 1))
    return Series(values["name"], kind, repetitions, tuple(swept), points)


def _panel(table: Mapping[str, Any], series: tuple[Series, ...], where: str) -> Panel:
    values = _read(table, PANEL, f"{where}, key")
    names = [one.name for one in series]
    for name in values.get("series", ()):
        if name not in names:
            raise ExperimentError(f"{where}, key series: no series {name!r}, expected some of {', '.join(names)}")
    y = values.pop("y")
    panel = Panel(y=(y,) if isinstance(y, str) else tuple(y), series=tuple(values.pop("series", ())), **values)
    _check_drawn(panel, [one for one in series if not panel.series or one.name in panel.series], where)
    return panel


def _check_drawn(panel: Panel, series: list[Series], where: str) -> None:
    """Raises ExperimentError where none of the series has what is drawn: before a sweep, not when it is plotted."""
    along = {one.name: (*one.swept, *results_of(one.kind, one.points)) for one in series}
    check_name(panel.x, tuple(name for names in along.values() for name in names), f"{where}, key x,")
    having_x = [one for one in series if panel.x in along[one.name]]
    for y in panel.y:
        check_name(y, tuple(name for one in having_x for name in results_of(one.kind, one.points)), f"{where}, key y,")
    for name in panel.where:
        check_name(name, tuple(name for one in series for name in one.points[0]), f"{where}, key where,")
    points = (point for one in series for point in one.points)
    if not any(all(point.get(name, wanted) == wanted for name, wanted in panel.where.items()) for point in points):
        raise ExperimentError(f"{where}, key where: no point is there, expected values that some point has")


@dataclass(frozen=True)
class Key:
    """What is expected of a key, in words and as a check."""

    expected: str
    fits: Callable[[Any], bool]
    required: bool = False
    default: Any = None


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 500


def _count(least: int, most: int) -> Key:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Key(f"an integer from {least} to {most}", fits)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_text, value))


def _tables(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(item, dict) for item in value)


_SCALE = Key("linear or log", lambda value: value in ("linear", "log"))
_TABLE = Key("a table", lambda value: isinstance(value, dict), default={})
_REPETITIONS = _count(1, 100_000)
EXPERIMENT = {
    "title": Key("a text", _text, required=True),
    "description": Key("a text", _text),
    "references": Key("a list of texts", _texts),
    "seed": Key(_count(0, 2**63 - 1).expected, _count(0, 2**63 - 1).fits, required=True),
    "repetitions": _REPETITIONS,
    "fixed": _TABLE,
    "sweep": _TABLE,
    "series": Key("[[series]] tables, at least one", _tables, required=True),
    "panels": Key("[[panels]] tables, at least one", _tables, required=True),
}
SERIES = {
    "name": Key("a text", _text, required=True),
    "kind": Key(f"one of {', '.join(KINDS)}", lambda value: value in KINDS, required=True),
    "repetitions": _REPETITIONS,
    "fixed": _TABLE,
    "sweep": Key(_TABLE.expected, _TABLE.fits),
}
PANEL = {
    "x": Key("the name of a swept parameter", _text, required=True),
    "y": Key("the name of a result, or a list of some", lambda value: _text(value) or _texts(value), required=True),
    "x_scale": _SCALE,
    "y_scale": _SCALE,
    "series": Key("a list of names of series", _texts),
    "where": Key("a table of parameters and values", lambda value: isinstance(value, dict)),
}


def _read(table: Mapping[str, Any], keys: Mapping[str, Key], where: str) -> dict[str, Any]:
    values = {}
    for name in table:
        check_name(name, tuple(keys), where)
    for name, key in keys.items():
        if name in table:
            if not key.fits(table[name]):
                raise ExperimentError(f"{where} {name}: expected {key.expected}, got {shown(table[name])}")
            values[name] = table[name]
        elif key.required:
            raise ExperimentError(f"{where} {name}: missing, expected {key.expected}")
        elif key.default is not None:
            values[name] = key.default
    return values
