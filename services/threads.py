"""The threads of one listener, which wait for all of its connections together.

Whoever is free takes the next connection for which something can be done, does it, and lets it wait again: a request
passes from no thread to another. A connection belongs to one thread at a time, or waits.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable

from .connections import ListenerConnection

log = logging.getLogger(__name__)


class ListenerThreads:
    """`begin` is called by each thread before it serves; `over` is told, by any of them, of a connection that has ended
    and is to be closed."""

    def __init__(
        self, name: str, count: int, begin: Callable[[], object], over: Callable[[ListenerConnection], None]
    ) -> None:
        self.name = name
        self._begin = begin
        self._over = over
        self._epoll = select.epoll()
        # By descriptor. To take one out is one step of the interpreter: two threads can't have the same.
        self._waiting: dict[int, ListenerConnection] = {}
        for number in range(count):
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True).start()

    def add(self, conn: ListenerConnection) -> None:
        self._wait(conn, select.EPOLLIN, self._epoll.register)

    def waiting(self) -> list[ListenerConnection]:
        """Those that no thread has just now."""
        return list(self._waiting.values())

    def take(self, conn: ListenerConnection) -> bool:
        """Whether it still waited; then it is the caller's, the worker's main thread."""
        with conn.begins_to_wait:
            return self._waiting.pop(conn.descriptor, None) is not None

    def go_on(self, conn: ListenerConnection, time_is_up: bool = False) -> None:
        """Of a connection that was taken: what can be done for it now."""
        try:
            events = conn.go_on(time_is_up)
            if events:
                self._wait(conn, events, self._epoll.modify)
        except Exception:
            log.exception("listener %s: a connection failed", self.name)
            self._waiting.pop(conn.descriptor, None)
            events = 0
        if not events:
            self._over(conn)

    def _wait(self, conn: ListenerConnection, events: int, tell: Callable[[int, int], object]) -> None:
        # One lock for all of them would be waited for in every request, as `modify` lets go of Python's.
        with conn.begins_to_wait:
            conn.waits_for = events
            self._waiting[conn.descriptor] = conn
            tell(conn.descriptor, events | select.EPOLLONESHOT)

    def _serve(self) -> None:
        try:
            self._begin()
        except Exception:
            log.exception("listener %s: a thread begins unprepared", self.name)
        while True:
            for descriptor, _ in self._epoll.poll(maxevents=1):
                conn = self._waiting.pop(descriptor, None)
                if conn is not None:
                    self.go_on(conn)
