"""A results file: JSON Lines, only ever added to. A header, then a row for each finished repetition of a point.

A row that is there is whole and safe on the disk; what is cut off by a crash is the last line, and it is dropped. A
sweep that goes on writes another header, so that the last one tells what to draw.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.origin import origin

if TYPE_CHECKING:  # whoever only draws results needs no simulator
    from qkd_lab.experiments.experiment import Experiment
    from qkd_lab.experiments.tasks import Task

FORMAT = "qkd-lab results 1"
HEADER_START = b'{"format": "qkd-lab results '


@dataclass(frozen=True)
class Results:
    """What a file has: its last header, and every row once. `whole_bytes`: its length without a half-written line."""

    path: Path
    header: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    whole_bytes: int


def read(path: Path) -> Results:
    """Raises ExperimentError, naming the file, the key and what was expected."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExperimentError(f"{path}: {error.strerror or error}, expected results of qkd-lab sweep") from error
    whole = content[: content.rfind(b"\n") + 1]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    header: dict[str, Any] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            if number == 1 or "format" in row:
                header = _header(path, row)
            else:
                found.setdefault((row["series"], row["point"], row["repetition"]), row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ExperimentError(f"{path}: line {number} is no row of results, expected JSON of sweep's") from error
    if not header:
        raise ExperimentError(f"{path}: empty, expected results of qkd-lab sweep")
    return Results(path, header, tuple(found.values()), len(whole))


def _header(path: Path, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        got = row.get("format") if isinstance(row, dict) else None
        raise ExperimentError(f"{path}: key format: expected {FORMAT!r} in the first line, got {got!r}")
    if not isinstance(row.get("experiment"), dict):
        raise ExperimentError(f"{path}: key experiment: missing in the header, expected results of qkd-lab sweep")
    return row


class ResultsFile:
    """Open for adding, by one process at a time. Raises ExperimentError where it holds other results.

    `finished`: identities of the tasks whose rows are there.
    """

    def __init__(self, path: Path, experiment: Experiment) -> None:
        self._path = path
        try:
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise ExperimentError(f"{path}: {error.strerror or error}, expected a place to write results") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ExperimentError(f"{path}: another sweep writes to it, expected one of its own: --output") from None
        try:
            self.finished = self._resume(experiment)
        except ExperimentError:
            self._file.close()
            raise

    def _resume(self, experiment: Experiment) -> set[tuple[str, int, int]]:
        # As JSON has it, without tuples, to be compared with the one in the file.
        header = json.loads(json.dumps({"format": FORMAT, **origin(), "experiment": experiment.summary()}))
        rows: Iterable[dict[str, Any]] = ()
        if self._first_line_is_there():
            results = read(self._path)
            old = results.header
            if old["experiment"]["hash"] != header["experiment"]["hash"]:
                self._refuse("experiment.hash", "points of this experiment", "others")
            if old["version"] != header["version"]:
                self._refuse("version", header["version"], old["version"])
            rows = results.rows
            self._file.truncate(results.whole_bytes)
            if old == header:
                return {(row["series"], row["point"], row["repetition"]) for row in rows}
        else:
            self._file.truncate(0)
        self._write(header)
        return {(row["series"], row["point"], row["repetition"]) for row in rows}

    def _refuse(self, key: str, expected: str, got: str) -> NoReturn:
        raise ExperimentError(
            f"{self._path}: key {key}: expected {expected} to go on, got {got}; take another --output, or move the "
            "file away"
        )

    def _first_line_is_there(self) -> bool:
        """Where even the header was cut off, there is nothing to go on with. Raises ExperimentError for other files."""
        with self._path.open("rb") as file:
            line = file.readline()
        if not line.startswith(HEADER_START[: len(line)]):
            raise ExperimentError(f"{self._path}: no results of qkd-lab sweep, expected another --output")
        return line.endswith(b"\n")

    def add(self, task: Task, result: dict[str, Any], elapsed_s: float, made_by: dict[str, str | None]) -> None:
        """Safe on the disk when this returns. A task whose row is there already is not written again."""
        if task.identity in self.finished:
            return
        self._write({
            "series": task.series, "kind": task.kind, "point": task.point, "repetition": task.repetition,
            "seed": task.seed, **made_by, "elapsed_s": round(elapsed_s, 6), "parameters": dict(task.parameters),
            "result": result,
        })  # fmt: skip
        self.finished.add(task.identity)

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
