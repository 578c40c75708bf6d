"""Puts the load of a cell on the bench's connection, and takes down what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from qkd_lab.bench import generators
from qkd_lab.bench.cells import Cell, Load, together
from qkd_lab.bench.pool import Pool
from qkd_lab.bench.processors import Processors


@dataclass(frozen=True)
class Driven:
    """A load, and what it took of processors at the site that was asked; None where these are not on this machine
    or were replaced meanwhile."""

    load: Load
    kme_cpu_s: float | None
    redis_cpu_s: float | None


class Driver:
    """`folder` is private and temporary."""

    def __init__(self, pool: Pool, processors: Processors, folder: Path, say: Callable[[str], None]) -> None:
        self.pool = pool
        self.folder = folder
        self.say = say
        self._processors = processors

    def drive(self, cell: Cell) -> Driven:
        """Raises LabError where the KME has died meanwhile: a rate of its refusals is none."""
        sae = self.pool.master if cell.method == "enc_keys" else self.pool.slave
        names = (sae.kme.id, f"redis-{sae.kme.id.removeprefix('kme-')}")
        loads, spent_s = [], [0.0, 0.0]
        for part in parts(cell, self.pool.most_at_once):
            self.pool.fill(part.key_count)
            send = self._sender(part)
            self.say(str(part))
            before = self._processors.busy(names)
            loads.append(send())
            part_s = self._processors.spent_s(before)
            if loads[-1].error_count:
                self.pool.check(sae)
            spent_s = [
                None if total is None or part_s[name] is None else total + part_s[name]
                for total, name in zip(spent_s, names, strict=True)
            ]
        return Driven(together(loads), *spent_s)

    def _sender(self, cell: Cell) -> Callable[[], Load]:
        """Makes ready what the requests need, and gives what sends them."""
        pool, options = self.pool, {"clients": cell.clients, "keep_alive": cell.keep_alive}
        if cell.method == "enc_keys":
            body = generators.enc_keys_body(cell.number)
            if cell.generator == "curl":
                return lambda: generators.curl(pool.enc_keys_url, pool.master, [body] * cell.request_count, **options)
            # To say nothing is to ask for one key.
            request = {"request_count": cell.request_count, "body": None if cell.number == 1 else body}
            return lambda: generators.ab(pool.enc_keys_url, pool.master, self.folder, **request, **options)
        ids = pool.take_key_ids(cell.key_count)
        bodies = [generators.dec_keys_body(ids[at : at + cell.number]) for at in range(0, len(ids), cell.number)]
        return lambda: generators.curl(pool.dec_keys_url, pool.slave, bodies, **options)


def parts(cell: Cell, most_keys: int) -> list[Cell]:
    """Each of no more keys than a pool always has, and as many requests as the others, or one less: a small rest would
    have fewer clients, on connections that are all new."""
    part_count = ceil(cell.request_count / max(1, most_keys // cell.number))
    each, left = divmod(cell.request_count, part_count)
    counts = [each + (at < left) for at in range(part_count)]
    return [replace(cell, clients=min(cell.clients, count), request_count=count) for count in counts]
