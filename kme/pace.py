"""How long the scheduler's threads rest: for a moment, or until one of them has done what others wait for."""

from __future__ import annotations

import threading


class Pace:
    """A thread reads `news` before its step and gives it to `rest` afterwards, so that it misses nothing meanwhile."""

    def __init__(self, interval_s: float = 0.25) -> None:
        self.interval_s = interval_s
        self.news = 0
        self._changed = threading.Condition()

    def rest(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.news != seen, self.interval_s)

    def hurry(self) -> None:
        """There is something to do now for those that could not go on."""
        with self._changed:
            self.news += 1
            self._changed.notify_all()
