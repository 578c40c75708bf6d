"""What a delivery costs with many keys in the store: it should be the same as with few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from qkd_lab.bench.cells import Cell
from qkd_lab.bench.driver import Driven, Driver
from qkd_lab.bench.pool import MOST_KEYS, Pool
from qkd_lab.bench.processors import Processors
from qkd_lab.bench.run import load_json, per_request_ms
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link


@dataclass(frozen=True)
class Sized:
    """`key_count` keys of the bench were in the store at first."""

    key_count: int
    driven: Driven

    def as_json(self) -> dict[str, Any]:
        return {
            "key_count": self.key_count,
            **load_json(self.driven.load),
            "kme_cpu_ms": per_request_ms(self.driven.kme_cpu_s, self.driven.load),
            "redis_cpu_ms": per_request_ms(self.driven.redis_cpu_s, self.driven.load),
        }


def measure_pool_sizes(
    operator: Operator,
    link: Link,
    sizes: Sequence[int],
    clients: int,
    requests: int,
    folder: Path,
    say: Callable[[str], None],
) -> Iterator[Sized]:
    """`enc_keys` of one key over kept connections, at each size. More keys than a pool may have are in several, of
    which one is asked. `folder` is private and temporary. Raises LabError."""
    cell = Cell("enc_keys", 1, "keep-alive", clients, max(clients, requests))
    processors = Processors(operator.lab)
    for size in sizes:
        say(f"{size:,} keys")
        with ExitStack() as ends:
            pools = [ends.enter_context(Pool(operator, link, capacity, say)) for capacity in shares(size)]
            for pool in pools:
                pool.fill(pool.most_at_once)
            stored = sum(pool.stored_key_count() for pool in pools)
            yield Sized(stored, Driver(pools[-1], processors, folder, say).drive(cell))


def shares(size: int) -> list[int]:
    """Keys of each of as few pools as can have `size` together. They are equal, but for one key: a rest beside full
    pools could be less than a pool has at least."""
    count = ceil(size / MOST_KEYS)
    return [size // count + (at < size % count) for at in range(count)]
