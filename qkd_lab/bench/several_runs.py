"""Files that `qkd-lab bench --json` wrote, one for each number of workers, to be drawn together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qkd_lab.bench.picture import RATES
from qkd_lab.lab_folder import LabError

CELL = ("method", "number", "connections", "clients")
THE_SAME = {"pool_fed_by": "the pool fed by", "processors": "processors of the machine:"}


def read_several(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The results, with those cells alone that each file has. Raises LabError that names the file and what was
    expected of it."""
    runs = [read(file) for file in files]
    first, of_workers = runs[0], dict[int, Path]()
    for file, run in zip(files, runs, strict=True):
        for name, words in THE_SAME.items():
            if run[name] != first[name]:
                raise LabError(f"{file}: {words} {run[name]}, expected {first[name]} as in {files[0]}")
        workers = run["kme_workers"]
        if workers in of_workers:
            raise LabError(f"{file}: {workers} workers as in {of_workers[workers]}, expected another number in each")
        of_workers[workers] = file
        if not _cells(run) & _cells(first):
            raise LabError(f"{file}: no cell of {files[0]}, expected the same {', '.join(CELL)}")
    common = set.intersection(*map(_cells, runs))
    if not common:
        raise LabError(f"{', '.join(map(str, files))}: expected a cell (the same {', '.join(CELL)}) that each has")
    return [run | {"cells": [cell for cell in run["cells"] if _key(cell) in common]} for run in runs]


def read(file: Path) -> dict[str, Any]:
    """What one run measured. Raises LabError where it is nothing of the kind."""
    try:
        run = json.loads(file.read_bytes())
        whole = (
            isinstance(run["kme_workers"], int)
            and run.keys() >= THE_SAME.keys()
            and _cells(run)
            and all(_is_rate(cell) and _is_rate(cell["floor"]) for cell in run["cells"])
        )
    except OSError as error:
        raise LabError(f"{file}: {error.strerror or error}, expected results of qkd-lab bench --json") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise LabError(f"{file}: expected results of qkd-lab bench --json, with kme_workers and cells")
    return run


def _is_rate(found: dict[str, Any]) -> bool:
    """The 99th percentile is None where nothing was answered."""
    return all(isinstance(found[name], int | float | None) for _, name in RATES)


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in CELL)


def _cells(run: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {_key(cell) for cell in run["cells"]}
