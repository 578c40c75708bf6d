"""One run of the bench: every cell, the floor in the same way, and the Redis scripts alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qkd_lab.bench import generators
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driven, Driver, parts
from qkd_lab.bench.floor import Floor
from qkd_lab.bench.pool import MOST_KEYS_AT_ONCE, Pool
from qkd_lab.bench.processors import Processors
from qkd_lab.bench.scripts_alone import CALLERS, ScriptAlone, scripts_alone
from qkd_lab.operator_calls import Operator
from qkd_lab.private_files import private_folder
from qkd_lab.topology import Link

PERCENTILES = (50, 95, 99)
LEAST_FLOOR_REQUESTS, MOST_SCRIPT_CALLS = 200, 2000


@dataclass(frozen=True)
class Measured:
    """A cell, the floor under the same load (of the same program, connections and clients), and the cell's own load."""

    cell: Cell
    floor: Load
    driven: Driven

    @property
    def load(self) -> Load:
        return self.driven.load

    @property
    def keys_per_s(self) -> float:
        return self.load.per_s * self.cell.number

    @property
    def of_floor(self) -> float | None:
        """None where the floor has answered nothing."""
        return self.load.per_s / self.floor.per_s if self.floor.per_s else None

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
            "of_floor": None if self.of_floor is None else round(self.of_floor, 3),
            "floor": load_json(self.floor),
        }


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
        """Also those of the floor: what is compared with it is then wrong."""
        return any(one.load.error_count or one.floor.error_count for one in self.measured)

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
        say("starting the floor")
        callers = {"enc_keys": pool.master, "dec_keys": pool.slave}
        floors = {
            method: ends.enter_context(Floor(operator.lab, sae, run.worker_count, private_folder(folder / method)))
            for method, sae in callers.items()
            if any(cell.method == method for cell in cells)
        }
        driver = Driver(pool, processors, folder, say)
        under = _Floors(driver, floors)
        for cell in cells:
            run.measured.append(Measured(cell, under.load(cell), driver.drive(cell)))
        for number, call_count in calls.items():
            say(f"Redis scripts alone, number {number}")
            run.scripts += scripts_alone(operator.lab, pool, number, call_count)
    run.is_complete = True


def fed_by(link: Link) -> str:
    if link.is_quantum:
        return f"BB84 on link {link.name}"
    return f"key files, prefilled over the directory link {link.name}, not by BB84"


class _Floors:
    """Each floor once: of the same program at as many clients, so that what differs is the KME alone."""

    def __init__(self, driver: Driver, floors: Mapping[str, Floor]) -> None:
        self._driver = driver
        self._floors = floors
        self._known: dict[tuple[str, str, int], Load] = {}

    def load(self, cell: Cell) -> Load:
        key = (cell.method, cell.connections, cell.clients)
        if key not in self._known:
            self._driver.say(f"the floor, {cell.connections}, {cell.clients} at once")
            url, options = self._floors[cell.method].url, {"clients": cell.clients, "keep_alive": cell.keep_alive}
            count = max(cell.request_count, LEAST_FLOOR_REQUESTS)
            pool = self._driver.pool
            if cell.method == "enc_keys":
                load = generators.ab(url, pool.master, self._driver.folder, request_count=count, **options)
            else:
                load = generators.curl(url, pool.slave, [b"{}"] * count, **options)
            self._known[key] = load
        return self._known[key]


def load_json(load: Load) -> dict[str, Any]:
    percentiles = {f"p{percent}_ms": load.percentile_ms(percent) for percent in PERCENTILES}
    return {
        "requests": load.request_count,
        "answered": load.answered_count,
        "requests_per_s": round(load.per_s, 1),
        **percentiles,
        "errors": dict(load.errors),
        "generator_cpu_ms": per_request_ms(load.generator_cpu_s, load),
    }


def per_request_ms(busy_s: float | None, load: Load) -> float | None:
    return None if busy_s is None or not load.request_count else round(1000 * busy_s / load.request_count, 3)
