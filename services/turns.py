"""Whose turn it is to accept: the worker's that has fewest connections. A kept connection stays with whom accepts it,
and workers that wait together at one socket would else leave all that come at once to the first of them."""

from __future__ import annotations

import mmap
import time

MOST_WORKERS = 256
FIRST_GO_S = 0.002


class Turns:
    """Made in the master, before it forks: what each of its workers says, all of them read."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * MOST_WORKERS)).cast("i")  # connections and 1; 0: no such worker

    def says(self, worker: int, connection_count: int) -> None:
        """`worker`: its number, which no later one gets."""
        self._counts[worker % MOST_WORKERS] = connection_count + 1

    def left(self, worker: int) -> None:
        self._counts[worker % MOST_WORKERS] = 0

    def wait(self, worker: int) -> None:
        """Lets others go first for a moment, where one has fewer connections. Whoever is too busy misses its turn."""
        own = self._counts[worker % MOST_WORKERS]
        if any(0 < other < own for other in self._counts):
            time.sleep(FIRST_GO_S)
