"""Files that `qkd-lab bench --json` wrote, one for each number of workers, to be drawn together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qkd_lab.bench.cells import CONNECTIONS, METHODS, MOST_CLIENTS, MOST_KEYS_AT_A_TIME
from qkd_lab.bench.picture import RATES, ROUND_NUMBERS
from qkd_lab.lab_folder import LabError

CELL = ("method", "number", "connections", "clients")
MOST_WORKERS = 256  # of a KME
RATE_NAMES = {name: None for _, name in RATES}.keys()
MOST_DRAWN = ROUND_NUMBERS[-1]  # requests a second, or ms: an axis ends there
LONGEST_SHOWN = 60  # characters of a value in a message
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
    """What one run measured. Raises LabError where it is nothing of the kind, or nothing that can be drawn."""
    try:
        run = json.loads(file.read_bytes())
        whole = (
            run.keys() >= {"kme_workers", *THE_SAME}
            and _cells(run)
            and all(one.keys() >= RATE_NAMES for cell in run["cells"] for one in (cell, cell["floor"]))
        )
    except OSError as error:
        raise LabError(f"{file}: {error.strerror or error}, expected results of qkd-lab bench --json") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise LabError(f"{file}: expected results of qkd-lab bench --json, with kme_workers and cells")
    if (wrong := next(_wrong(run), None)) is not None:
        key, found, expected = wrong
        raise LabError(f"{file}: {key}: {_shown(found)}, expected {expected}, as qkd-lab bench --json writes it")
    return run


def _wrong(run: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Key, what is there and what was expected of everything that can't be drawn."""
    fed_by = run["pool_fed_by"]
    if not (isinstance(fed_by, str) and fed_by.isprintable()):
        yield "pool_fed_by", fed_by, "one line of text"
    yield from _not_integers("", run, "kme_workers", MOST_WORKERS)
    for at, cell in enumerate(run["cells"]):
        place = f"cells[{at}]."
        yield from _not_integers(place, cell, "number", MOST_KEYS_AT_A_TIME)
        yield from _not_integers(place, cell, "clients", MOST_CLIENTS)
        for name, known in (("method", METHODS), ("connections", CONNECTIONS)):
            if cell[name] not in known:
                yield place + name, cell[name], " or ".join(known)
        for inner, found in (("", cell), ("floor.", cell["floor"])):
            for name in RATE_NAMES:
                # The 99th percentile is None where nothing was answered.
                if not (_is_rate(found[name]) or (found[name] is None and name == "p99_ms")):
                    yield f"{place}{inner}{name}", found[name], f"a finite number from 0 to {MOST_DRAWN:,.0f}"


def _not_integers(place: str, of: dict[str, Any], name: str, most: int) -> Iterator[tuple[str, Any, str]]:
    if type(of[name]) is not int or not 1 <= of[name] <= most:
        yield place + name, of[name], f"an integer from 1 to {most}"


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MOST_DRAWN


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in CELL)


def _cells(run: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {_key(cell) for cell in run["cells"]}
