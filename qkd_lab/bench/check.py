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
from qkd_lab.bench.lost_calls import LOST, in_words, kind_of
from qkd_lab.bench.pool import MOST_KEYS_AT_ONCE, Pool
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link
from sae_demo.etsi_answers import Key
from sae_demo.etsi_client import Etsi014Client, KmeRefused

Batch = dict[str, bytes]  # key id → SHA-256 of the key


@dataclass
class Checked:
    """Counts of keys. `not_compared`: delivered to a master, but the answer at the other end brought none.
    `came_twice`: ids or keys that a master got more than once, and keys that a slave could fetch a second time.

    Counts of calls, by kind: `lost_calls` brought no keys; `inconclusive` asked for keys once more, and got neither
    keys nor the refusal that has to be. `ended_early`: why less was asked for than was wanted; empty where all was.
    """

    delivered: int = 0
    equal: int = 0
    different: int = 0
    not_compared: int = 0
    came_twice: int = 0
    lost_calls: Counter[str] = field(default_factory=Counter)
    inconclusive: Counter[str] = field(default_factory=Counter)
    ended_early: str = ""

    @property
    def is_well(self) -> bool:
        wrong = self.different or self.not_compared or self.came_twice or self.lost_calls or self.inconclusive
        return self.delivered == self.equal > 0 and not (wrong or self.ended_early)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_well": self.is_well}

    def in_words(self) -> str:
        ended_early = f"; it ended early: {self.ended_early}" if self.ended_early else ""
        return (
            f"{self.delivered:,} keys delivered to masters: {self.equal:,} equal at the other end, "
            f"{self.different:,} different, {self.came_twice:,} came twice, {self.not_compared:,} not compared; "
            f"calls without keys: {in_words(self.lost_calls)}; asked once more, neither given nor refused with 400: "
            f"{in_words(self.inconclusive)}{ended_early}"
        )


def run_check(
    operator: Operator, link: Link, numbers: Sequence[int], clients: int, requests: int, say: Callable[[str], None]
) -> Checked:
    """Requests as the bench makes them, of all `numbers` together, with `clients` at each end at once. Raises LabError
    where the pool can't be filled for the first of them."""
    cells = matrix(("enc_keys",), numbers, ("keep-alive",), (1,), requests)
    wanted = [cell.number for cell in cells for _ in range(cell.request_count)]
    Random(0).shuffle(wanted)
    found = _Found()
    with Pool(operator, link, 2 * min(MOST_KEYS_AT_ONCE, sum(wanted)), say) as pool:
        for some in _parts(wanted):
            try:
                pool.fill(sum(some))
            except LabError as error:
                if not found.asked:
                    raise
                found.checked.ended_early = str(error)  # what was found until then is told
                break
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
                except LOST as error:
                    found.lose("enc_keys", error)
                    continue
                found.deliver(batch)
                taken.put(batch)

    def fetch(_: int) -> None:
        with pool.client(pool.slave) as client:
            while (batch := taken.get()) is not None:
                try:
                    here = _digests(client.dec_keys(pool.master.id, batch).keys)
                except LOST as error:
                    found.lose("dec_keys", error, len(batch))
                    continue
                found.compare(batch, here)
                found.again(*_fetched_again(client, pool.master.id, batch))

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


def _fetched_again(client: Etsi014Client, master: str, batch: Batch) -> tuple[int, str]:
    """How many of these keys, which were fetched, were given out once more; and the kind of an answer that says
    nothing of that. Only keys are keys, and only 400 is the refusal of what is no longer there."""
    try:
        return len(client.dec_keys(master, batch).keys), ""
    except LOST as error:
        return 0, "" if isinstance(error, KmeRefused) and error.status == 400 else kind_of(error)


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

    def again(self, count: int, inconclusive: str) -> None:
        with self._lock:
            self.checked.came_twice += count
            if inconclusive:
                self.checked.inconclusive[inconclusive] += 1

    def lose(self, method: str, error: Exception, not_compared: int = 0) -> None:
        with self._lock:
            self.checked.lost_calls[f"{method} {kind_of(error)}"] += 1
            self.checked.not_compared += not_compared

    @property
    def asked(self) -> bool:
        return bool(self.checked.delivered or self.checked.lost_calls)
