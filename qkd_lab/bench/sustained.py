"""From pulses to SAEs: how many keys a second both ends get while nothing but BB84 feeds their pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any

from qkd_lab.bench.pool import KEY_SIZE_BITS, Pool
from qkd_lab.bench.processors import Processors
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link
from sae_demo.etsi_client import KmeRefused

TARGET_PER_S = 500
CLIENTS = 2  # at each end
AT_A_TIME = 32
CAPACITY = 20_000  # more than comes in a round: the pool is always to be filled
NOTHING_THERE_S = 0.02
ROUNDS_ASKED_EVERY_S = 1.0
FIRST_KEYS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Flow:
    """`stages_s`: of the rounds that ended meanwhile, as Bob's end saw them, one after the other; `delivery_s`: how
    long clients waited for answers with keys, beside the rounds; `processors_s`: by process, where known."""

    key_count: int
    elapsed_s: float
    round_count: int
    secret_bits: int
    stages_s: dict[str, float]
    delivery_s: dict[str, float]
    processors_s: dict[str, float]

    @property
    def per_s(self) -> float:
        return self.key_count / self.elapsed_s

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"keys_per_s": round(self.per_s, 1), "key_size_bits": KEY_SIZE_BITS}

    def in_words(self) -> str:
        between_s = max(0.0, self.elapsed_s - sum(self.stages_s.values()))
        lines = [
            f"{self.per_s:,.0f} keys/s of {KEY_SIZE_BITS} bits at both SAEs over {self.elapsed_s:.0f} s "
            f"({self.key_count:,} keys, target {TARGET_PER_S}/s), from {self.round_count} rounds with "
            f"{self.secret_bits / self.elapsed_s:,.0f} secret bits/s",
            "time of the rounds:",
            *self._shares({**self.stages_s, "between rounds": between_s}),
            "beside them, clients waited for keys:",
            *self._shares(self.delivery_s),
        ]
        if self.processors_s:
            lines += ["processors at work (100 % is one of them):", *self._shares(self.processors_s)]
        return "\n".join(lines)

    def _shares(self, seconds: dict[str, float]) -> list[str]:
        return [f"  {name:<18}{one / self.elapsed_s:7.1%}" for name, one in seconds.items()]


def sustained(operator: Operator, link: Link, seconds: float, say: Callable[[str], None]) -> Flow:
    """Raises LabError."""
    if not link.is_quantum:
        raise LabError(f"--sustained: link {link.name} is fed with key files: expected a quantum link, see --link")
    processors, rounds = Processors(operator.lab), _Rounds(operator, link)
    with Pool(operator, link, CAPACITY, say) as pool, _Clients(pool) as clients:
        say("waiting for the first keys")
        pool.open()
        clients.wait_for_keys(FIRST_KEYS_WITHIN_S)
        say(f"measuring for {seconds:g} s")
        rounds.begin()
        before = {name: processors.busy_s(name) or 0.0 for name in processors.names}
        count, waited, started = clients.key_count, dict(clients.waited_s), time.monotonic()
        while (left_s := started + seconds - time.monotonic()) > 0:
            time.sleep(min(left_s, ROUNDS_ASKED_EVERY_S))
            rounds.look()
            clients.check()
        elapsed_s, key_count = time.monotonic() - started, clients.key_count - count
        busy = {name: (processors.busy_s(name) or 0.0) - before[name] for name in before}
        delivery = {method: clients.waited_s[method] - waited[method] for method in waited}
    rows = rounds.ended
    stages: dict[str, float] = {}
    for report in rows:
        for stage, spent_s in report["stages"].items():
            stages[stage] = stages.get(stage, 0.0) + spent_s
    # Only what took a hundredth of a processor or more is worth a line.
    busiest = sorted(busy.items(), key=lambda item: -item[1])
    worth_telling = {name: busy_s for name, busy_s in busiest if busy_s > elapsed_s / 100}
    secret_bits = sum(report["secret_bits"] or 0 for report in rows)
    return Flow(key_count, elapsed_s, len(rows), secret_bits, stages, delivery, worth_telling)


class _Rounds:
    """The reports of the rounds that end from `begin` on, at Bob's end, which leads them."""

    def __init__(self, operator: Operator, link: Link) -> None:
        self._operator = operator
        self._qkde = operator.topology.site(link.bob).qkde_id
        self._path = f"/v1/reports?link={link.name}&count=50"
        self._known: set[str] = set()
        self.ended: list[dict[str, Any]] = []

    def begin(self) -> None:
        self.look()
        self.ended = []

    def look(self) -> None:
        for report in self._operator.call(self._qkde, "GET", self._path):
            if report["block_id"] not in self._known:
                self._known.add(report["block_id"])
                self.ended.append(report)


class _Clients:
    """Masters that take what there is, and slaves that fetch it. `key_count`: keys that both ends have."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._taken: SimpleQueue[list[str]] = SimpleQueue()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(2 * CLIENTS)
        self.key_count = 0
        self.waited_s = {"enc_keys": 0.0, "dec_keys": 0.0}

    def __enter__(self) -> _Clients:
        self._running = [self._threads.submit(work) for work in (self._take, self._fetch) for _ in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads.shutdown()

    def check(self) -> None:
        """Raises what ended a client."""
        for one in self._running:
            if one.done():
                one.result()

    def wait_for_keys(self, within_s: float) -> None:
        until = time.monotonic() + within_s
        while not self.key_count:
            self.check()
            if time.monotonic() > until:
                raise LabError(f"BB84 gave no key within {within_s:.0f} s: `qkd-lab status` shows the rounds")
            time.sleep(NOTHING_THERE_S)

    def _take(self) -> None:
        with self._pool.client(self._pool.master) as client:
            while not self._over.is_set():
                started = time.monotonic()
                try:
                    keys = client.enc_keys(self._pool.slave.id, AT_A_TIME).keys
                except KmeRefused as refusal:
                    if refusal.status not in (400, 503):  # 400: the registration is not known to each worker yet
                        raise
                    self._over.wait(NOTHING_THERE_S)
                    continue
                self._count("enc_keys", started)
                self._taken.put([key.key_id for key in keys])

    def _fetch(self) -> None:
        with self._pool.client(self._pool.slave) as client:
            while not self._over.is_set():
                try:
                    key_ids = self._taken.get(timeout=NOTHING_THERE_S)
                except Empty:
                    continue
                started = time.monotonic()
                keys = client.dec_keys(self._pool.master.id, key_ids).keys
                self._count("dec_keys", started, len(keys))

    def _count(self, method: str, started: float, key_count: int = 0) -> None:
        with self._lock:
            self.waited_s[method] += time.monotonic() - started
            self.key_count += key_count
