"""Whose turn it is to accept: the worker's that has fewest connections. A kept connection stays with whom accepts it,
and workers that wait together at one socket would else leave all that come at once to the first of them."""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterable

MOST_WORKERS = 256
FIRST_GO_S = 0.002


class Turns:
    """Made in the master, before it forks: what each of its workers says, all of them read."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * MOST_WORKERS)).cast("i")  # connections and 1; 0: no such worker

    @staticmethod
    def free(taken: Iterable[int]) -> int:
        """The place of one more worker, beside those that live: the end of another is never taken for its own. More
        than there are places for share the last."""
        return min(set(range(MOST_WORKERS)).difference(taken), default=MOST_WORKERS - 1)

    def says(self, place: int, connection_count: int) -> None:
        self._counts[place] = connection_count + 1

    def left(self, place: int) -> None:
        self._counts[place] = 0

    def wait(self, place: int) -> None:
        """Lets others go first for a moment, where one has fewer connections. Whoever is too busy misses its turn."""
        own = self._counts[place]
        if any(0 < other < own for other in self._counts):
            time.sleep(FIRST_GO_S)
