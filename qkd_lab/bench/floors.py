"""Both floors of each site that is asked: under the KME's own server, and under gunicorn as it comes."""

from __future__ import annotations

from contextlib import ExitStack

from qkd_lab.bench import generators
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driver
from qkd_lab.bench.floor import Floor
from qkd_lab.private_files import private_folder

LEAST_REQUESTS = 200


class Floors:
    """They end with `ends`. Each is measured once: with one program, kind of connection and number of clients, so that
    what differs is the KME alone."""

    def __init__(self, driver: Driver, worker_count: int, ends: ExitStack) -> None:
        self._driver = driver
        self._worker_count = worker_count
        self._ends = ends
        self._started: dict[tuple[str, bool], Floor] = {}
        self._known: dict[tuple[str, str, int, bool], Load] = {}

    def load(self, cell: Cell, *, as_it_comes: bool = False) -> Load:
        key = (cell.method, cell.connections, cell.clients, as_it_comes)
        if key not in self._known:
            url = self._floor(cell.method, as_it_comes).url
            server = " under gunicorn as it comes" if as_it_comes else ""
            self._driver.say(f"the floor{server}, {cell.connections}, {cell.clients} at once")
            self._known[key] = self._drive(cell, url)
        return self._known[key]

    def _floor(self, method: str, as_it_comes: bool) -> Floor:
        if (found := self._started.get((method, as_it_comes))) is None:
            self._driver.say(f"starting the floor of {method}{', under gunicorn as it comes' if as_it_comes else ''}")
            pool = self._driver.pool
            sae = pool.master if method == "enc_keys" else pool.slave
            folder = private_folder(self._driver.folder / f"{method}-{'gunicorn' if as_it_comes else 'floor'}")
            floor = Floor(pool.lab, sae, self._worker_count, folder, as_it_comes=as_it_comes)
            found = self._started[method, as_it_comes] = self._ends.enter_context(floor)
        return found

    def _drive(self, cell: Cell, url: str) -> Load:
        pool, options = self._driver.pool, {"clients": cell.clients, "keep_alive": cell.keep_alive}
        count = max(cell.request_count, LEAST_REQUESTS)
        if cell.generator == "ab":
            return generators.ab(url, pool.master, self._driver.folder, request_count=count, **options)
        return generators.curl(url, pool.slave, [b"{}"] * count, **options)
