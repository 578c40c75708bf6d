"""One run of the bench: every cell, the floor in the same way, and the Redis scripts alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qkd_lab.bench import generators
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driven, Driver, parts
from qkd_lab.bench.floors import Floors
from qkd_lab.bench.pool import MOST_KEYS_AT_ONCE, Pool
from qkd_lab.bench.processors import Processors
from qkd_lab.bench.scripts_alone import CALLERS, ScriptAlone, scripts_alone
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link

PERCENTILES = (50, 95, 99)
MOST_SCRIPT_CALLS = 2000


@dataclass(frozen=True)
class Measured:
    """A cell, its load, and what was measured beside it with the same program, connections and clients: the floor; on
    kept connections that under gunicorn as it comes; beside `dec_keys` as many requests of `enc_keys`."""

    cell: Cell
    floor: Load
    driven: Driven
    gunicorn: Load | None = None
    enc_keys: Load | None = None

    @property
    def load(self) -> Load:
        return self.driven.load

    @property
    def keys_per_s(self) -> float:
        return self.load.per_s * self.cell.number

    @property
    def beside(self) -> list[Load]:
        return [load for load in (self.floor, self.gunicorn, self.enc_keys) if load is not None]

    def share_of(self, other: Load | None) -> float | None:
        """Of its requests/s; None where there are none."""
        return self.load.per_s / other.per_s if other and other.per_s else None

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.cell.method,
            "number": self.cell.number,
            "connections": self.cell.connections,
            "clients": self.cell.clients,
            "keys_per_s": round(self.keys_per_s, 1),
            **load_json(self.load),
            "kme_cpu_ms": per_request_ms(self.driven.kme_cpu_s, self.load),
            "redis_cpu_ms": per_request_ms(self.driven.redis_cpu_s, self.load),
            **self._compared("floor", self.floor),
            **self._compared("gunicorn", self.gunicorn),
            **self._compared("enc_keys", self.enc_keys),
        }

    def _compared(self, name: str, other: Load | None) -> dict[str, Any]:
        if other is None:
            return {}
        share = self.share_of(other)
        return {f"of_{name}": None if share is None else round(share, 3), name: load_json(other)}


@dataclass
class Run:
    """What `bench` fills as it goes, so that it is there also where that ends early. `fed_by`: where the pool's keys
    came from, in words; `wanted_count`: cells that are to be measured."""

    fed_by: str
    wanted_count: int
    worker_count: int = 1
    generators: dict[str, str] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    scripts: list[ScriptAlone] = field(default_factory=list)
    is_complete: bool = False

    @property
    def had_errors(self) -> bool:
        """Also those of what a cell is compared with: the comparison is then wrong."""
        return any(load.error_count for one in self.measured for load in (one.load, *one.beside))

    def as_json(self) -> dict[str, Any]:
        return {
            "complete": self.is_complete,
            "pool_fed_by": self.fed_by,
            "processors": os.cpu_count(),
            "kme_workers": self.worker_count,
            "generators": self.generators,
            "cells": [one.as_json() for one in self.measured],
            "redis_scripts_alone": [
                {"script": one.script, "number": one.number, "callers": one.callers, "calls_per_s": round(one.per_s, 1)}
                for one in self.scripts
            ],
        }


def bench(
    run: Run, operator: Operator, link: Link, cells: Sequence[Cell], folder: Path, say: Callable[[str], None]
) -> None:
    """`folder` is private and temporary. Raises LabError; what was measured until then is in `run`. Whatever happens,
    nothing is left of it in the lab."""
    run.generators = dict(generators.versions())
    processors = Processors(operator.lab)
    calls = {one.number: min(MOST_SCRIPT_CALLS, parts(one, MOST_KEYS_AT_ONCE)[0].request_count) for one in cells}
    if operator.lab.in_containers:
        calls = {}  # their stores can't be reached from here
    largest = max(min(MOST_KEYS_AT_ONCE, cell.key_count) for cell in cells)
    wanted = sum(cell.key_count for cell in cells) + sum(len(CALLERS) * number * calls[number] for number in calls)
    with ExitStack() as ends:
        pool = ends.enter_context(Pool(operator, link, max(wanted, 2 * largest), say))
        run.worker_count = processors.worker_count(pool.master.kme.id)
        driver = Driver(pool, processors, folder, say)
        floors = Floors(driver, run.worker_count, ends)
        for cell in cells:
            floor = floors.load(cell)
            # It ends connections without `close_notify`, which `ab` takes for broken.
            gunicorn = floors.load(cell, as_it_comes=True) if cell.keep_alive else None
            compared = None
            if cell.method == "dec_keys":
                compared = driver.drive(replace(cell, method="enc_keys", is_by_curl=True)).load
            run.measured.append(Measured(cell, floor, driver.drive(cell), gunicorn, compared))
        for number, call_count in calls.items():
            say(f"Redis scripts alone, number {number}")
            run.scripts += scripts_alone(operator.lab, pool, number, call_count)
    run.is_complete = True


def fed_by(link: Link) -> str:
    if link.is_quantum:
        return f"BB84 on link {link.name}"
    return f"key files, prefilled over the directory link {link.name}, not by BB84"


def load_json(load: Load) -> dict[str, Any]:
    percentiles = {f"p{percent}_ms": _rounded(load.percentile_ms(percent)) for percent in PERCENTILES}
    return {
        "requests": load.request_count,
        "answered": load.answered_count,
        "requests_per_s": round(load.per_s, 1),
        **percentiles,
        "errors": dict(load.errors),
        "generator_cpu_ms": per_request_ms(load.generator_cpu_s, load),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def per_request_ms(busy_s: float | None, load: Load) -> float | None:
    return None if busy_s is None or not load.request_count else _rounded(1000 * busy_s / load.request_count)
