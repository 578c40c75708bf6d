"""Every key is fetched at the other end, compared, and asked for again: a run apart, since it costs time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from queue import SimpleQueue
from random import Random
from typing import Any

from qkd_lab.bench.cells import matrix
from qkd_lab.bench.pool import MOST_KEYS_AT_ONCE, Pool
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link
from sae_demo.etsi_answers import Key
from sae_demo.etsi_client import Etsi014Client, KmeRefused

Batch = dict[str, bytes]  # key id → SHA-256 of the key


@dataclass
class Checked:
    """Counts of keys. `came_twice`: ids or keys that a master got more than once, and keys that a slave could fetch a
    second time."""

    delivered: int = 0
    equal: int = 0
    different: int = 0
    came_twice: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def is_well(self) -> bool:
        return self.delivered == self.equal > 0 and not (self.different or self.came_twice or self.refused)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_well": self.is_well}

    def in_words(self) -> str:
        refused = ", ".join(f"{count} × {why}" for why, count in self.refused.items())
        return (
            f"{self.delivered:,} keys delivered to masters: {self.equal:,} equal at the other end, "
            f"{self.different:,} different, {self.came_twice:,} came twice; calls refused: {refused or 'none'}"
        )


def run_check(
    operator: Operator, link: Link, numbers: Sequence[int], clients: int, requests: int, say: Callable[[str], None]
) -> Checked:
    """Requests as the bench makes them, of all `numbers` together, with `clients` at each end at once."""
    cells = matrix(("enc_keys",), numbers, ("keep-alive",), (1,), requests)
    wanted = [cell.number for cell in cells for _ in range(cell.request_count)]
    Random(0).shuffle(wanted)
    found = _Found()
    with Pool(operator, link, 2 * min(MOST_KEYS_AT_ONCE, sum(wanted)), say) as pool:
        for some in _parts(wanted):
            pool.fill(sum(some))
            say(f"{sum(some):,} keys in {len(some):,} requests, {clients} clients at each end")
            _check(pool, some, clients, found)
    return found.checked


def _parts(wanted: Sequence[int]) -> Iterator[list[int]]:
    """Each of no more keys than a pool always has."""
    part: list[int] = []
    for number in wanted:
        if sum(part) + number > MOST_KEYS_AT_ONCE:
            yield part
            part = []
        part.append(number)
    yield part


def _check(pool: Pool, wanted: Sequence[int], clients: int, found: _Found) -> None:
    taken: SimpleQueue[Batch | None] = SimpleQueue()
    interrupted = threading.Event()

    def take(some: Sequence[int]) -> None:
        with pool.client(pool.master) as client:
            for number in some:
                if interrupted.is_set():
                    return
                try:
                    batch = _digests(client.enc_keys(pool.slave.id, number).keys)
                except KmeRefused as refusal:
                    found.refuse("enc_keys", refusal)
                    continue
                found.deliver(batch)
                taken.put(batch)

    def fetch(_: int) -> None:
        with pool.client(pool.slave) as client:
            while (batch := taken.get()) is not None:
                try:
                    here = _digests(client.dec_keys(pool.master.id, batch).keys)
                except KmeRefused as refusal:
                    found.refuse("dec_keys", refusal)
                    continue
                found.compare(batch, here)
                found.again(_fetched_again(client, pool.master.id, batch))

    with ThreadPoolExecutor(2 * clients) as threads:
        fetching = [threads.submit(fetch, number) for number in range(clients)]
        try:
            list(threads.map(take, (wanted[at::clients] for at in range(clients))))
        finally:
            interrupted.set()  # or else all of it is over already
            for _ in fetching:
                taken.put(None)
        for one in fetching:
            one.result()


def _digests(keys: Sequence[Key]) -> Batch:
    return {key.key_id: sha256(key.octets).digest() for key in keys}


def _fetched_again(client: Etsi014Client, master: str, batch: Batch) -> int:
    """How many of these keys, which were fetched, were given out once more."""
    try:
        return len(client.dec_keys(master, batch).keys)
    except KmeRefused as refusal:
        if refusal.status != 400:
            raise
        return 0


class _Found:
    """What all clients found, together."""

    def __init__(self) -> None:
        self.checked = Checked()
        self._lock = threading.Lock()
        self._known: set[str | bytes] = set()

    def deliver(self, batch: Batch) -> None:
        with self._lock:
            self.checked.delivered += len(batch)
            for one in (*batch, *batch.values()):
                self.checked.came_twice += one in self._known
                self._known.add(one)

    def compare(self, batch: Batch, here: Batch) -> None:
        equal = sum(here.get(key_id) == digest for key_id, digest in batch.items())
        with self._lock:
            self.checked.equal += equal
            self.checked.different += len(batch) - equal

    def again(self, count: int) -> None:
        with self._lock:
            self.checked.came_twice += count

    def refuse(self, method: str, refusal: KmeRefused) -> None:
        with self._lock:
            self.checked.refused[f"{method} {refusal.status}"] += 1
