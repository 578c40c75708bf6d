"""Clients at both ends that take whatever BB84 feeds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from qkd_lab.bench.lost_calls import LOST, in_words, kind_of
from qkd_lab.bench.pool import Pool
from qkd_lab.lab_folder import LabError
from sae_demo.etsi_client import KmeRefused

CLIENTS = 2  # at each end
AT_A_TIME = 32
NOTHING_THERE_S = 0.02


@dataclass(frozen=True)
class Seen:
    """What clients have got since they began, up to `at_s`. `key_count`: keys that both ends have; `waited_s`: for
    answers with keys, by method; `lost`: calls that brought none, by kind."""

    at_s: float
    key_count: int
    waited_s: dict[str, float]
    lost: Counter[str]


class Clients:
    """Masters that take what there is, and slaves that fetch it. `key_count`: keys that both ends have."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._taken: SimpleQueue[list[str]] = SimpleQueue()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(2 * CLIENTS)
        self.key_count = 0
        self.waited_s = {"enc_keys": 0.0, "dec_keys": 0.0}
        self.lost = Counter[str]()

    def __enter__(self) -> Clients:
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

    def seen(self) -> Seen:
        with self._lock:
            return Seen(time.monotonic(), self.key_count, dict(self.waited_s), Counter(self.lost))

    def wait_for_keys(self, within_s: float) -> None:
        until = time.monotonic() + within_s
        while not self.key_count:
            self.check()
            if time.monotonic() > until:
                raise LabError(
                    f"BB84 gave no key within {within_s:.0f} s: `qkd-lab status` shows the rounds; calls without keys, "
                    f"but for too few of them: {in_words(self.seen().lost)}"
                )
            time.sleep(NOTHING_THERE_S)

    def _take(self) -> None:
        with self._pool.client(self._pool.master) as client:
            while not self._over.is_set():
                started = time.monotonic()
                try:
                    keys = client.enc_keys(self._pool.slave.id, AT_A_TIME).keys
                except LOST as error:
                    if not _nothing_there(error):
                        self._lose("enc_keys", error)
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
                try:
                    keys = client.dec_keys(self._pool.master.id, key_ids).keys
                except LOST as error:
                    self._lose("dec_keys", error)
                    self._over.wait(NOTHING_THERE_S)
                    continue
                self._count("dec_keys", started, len(keys))

    def _count(self, method: str, started: float, key_count: int = 0) -> None:
        with self._lock:
            self.waited_s[method] += time.monotonic() - started
            self.key_count += key_count

    def _lose(self, method: str, error: Exception) -> None:
        with self._lock:
            self.lost[f"{method} {kind_of(error)}"] += 1


def _nothing_there(error: Exception) -> bool:
    """The next keys are to be waited for; a 503 for another reason is a call that is lost."""
    return isinstance(error, KmeRefused) and error.status == 503 and error.message.startswith("too few keys")
