"""The worker: it accepts connections, gives them to the threads of their listener, and ends those that take too long.

gunicorn's gthread, changed in three places. The listener that accepted a connection decides its TLS context. Each
listener has threads of its own, which wait for all of its clients at once: SAEs can't keep the peer KME or an operator
out. Where a listener is full, whoever has most connections there loses one.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from typing import Any

from gunicorn import util
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.workers.gthread import ThreadWorker

from .connections import ListenerConnection, refusal
from .threads import ListenerThreads

log = logging.getLogger(__name__)

SWEPT_EVERY_S = 0.25
TOLD_EVERY_S = 10.0  # that a listener is full
UNFINISHED_BYTES = 64 << 20  # of all requests of a worker that have not wholly arrived
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}
NO_MORE_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class ListenerWorker(ThreadWorker):
    """A worker with several listeners; `cfg.listener_tls`: name, TLS, and what its threads begin with, of each, in the
    order of binds; `cfg.limits`; `cfg.turns`; `cfg.max_body_bytes`: by a listener's name, from when the applications
    are made. `place`: in `cfg.turns`, given to it before it is forked."""

    place = 0

    def init_process(self) -> None:
        self._listeners = {
            sock.getsockname(): (tls, ListenerThreads(name, self.cfg.threads, begin, self._is_over))
            for sock, (name, tls, begin) in zip(self.sockets, self.cfg.listener_tls, strict=True)
        }
        self._open = Counter[Any]()
        self._swept_at = self._told_at = 0.0
        super().init_process()

    def run(self) -> None:
        self.cfg.turns.says(self.place, 0)
        super().run()

    def accept(self, listener: Any) -> None:
        self.cfg.turns.wait(self.place)
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in NO_MORE_DESCRIPTORS:
                self._make_room(None)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        address = listener.getsockname()
        if self._open[address] >= self.cfg.limits.connection_count:
            self._make_room(address)
        if self._open[address] >= self.cfg.limits.connection_count:
            return util.close(sock)  # all of them are being served just now
        tls, threads = self._listeners[address]
        conn = ListenerConnection(self.cfg, sock, client, address, threads.name, tls, super().handle)
        self.nr_conns += 1
        self.cfg.turns.says(self.place, self.nr_conns)
        self._open[address] += 1
        threads.add(conn)

    def _is_over(self, conn: ListenerConnection) -> None:
        self.method_queue.defer(self._close, conn)  # only this worker's main thread opens and closes

    def _close(self, conn: ListenerConnection) -> None:
        self.nr_conns -= 1
        self.cfg.turns.says(self.place, self.nr_conns)
        self._open[conn.server] -= 1
        conn.close()

    def _threads_of(self, conn: ListenerConnection) -> ListenerThreads:
        return self._listeners[conn.server][1]

    def _waiting(self, address: Any = None) -> list[ListenerConnection]:
        """Connections that no thread has. `address`: a listener's, or None: of all."""
        found = [threads for server, (_, threads) in self._listeners.items() if address in (None, server)]
        return [conn for threads in found for conn in threads.waiting()]

    def _end(self, conn: ListenerConnection) -> bool:
        """Closes a connection, unless a thread has it by now."""
        taken = self._threads_of(conn).take(conn)
        if taken:
            self._close(conn)
        return taken

    def _make_room(self, address: Any) -> None:
        """Closes the oldest connection of the caller who has most of those that wait; who has not yet shown a
        certificate is nobody, and nobody is one caller. `address`: a listener's, or None: of all."""
        waiting = self._waiting(address)
        if not waiting:
            return
        ((caller, _),) = Counter(conn.caller for conn in waiting).most_common(1)
        oldest = sorted((conn for conn in waiting if conn.caller == caller), key=lambda conn: conn.accepted_at)
        closed = next((conn for conn in oldest if not conn.can_go_on() and self._end(conn)), None)
        if closed is not None and time.monotonic() > self._told_at + TOLD_EVERY_S:
            self._told_at = time.monotonic()
            log.warning("listener %s has too many connections: one from %s is closed", closed.name, closed.client[0])

    # gunicorn calls these three in its loop, and when it stops.

    def murder_pending(self) -> None:
        now = time.monotonic()
        if now < self._swept_at + SWEPT_EVERY_S:
            return
        self._swept_at = now
        waiting = self._waiting()
        for conn in waiting:
            # What has come in time and waits for a thread is not late: that is not the client's fault.
            if conn.until <= now and not conn.can_go_on() and self._threads_of(conn).take(conn):
                self._threads_of(conn).go_on(conn, time_is_up=True)
        unfinished = sorted(waiting, key=lambda conn: len(conn.arriving.octets))
        total = sum(len(conn.arriving.octets) for conn in unfinished)
        while total > UNFINISHED_BYTES:
            largest = unfinished.pop()
            total -= len(largest.arriving.octets)
            if self._end(largest):
                log.warning("listener %s: too much has arrived of unfinished requests: one is cut off", largest.name)

    def murder_keepalived(self, force: bool = False) -> None:
        for conn in self._waiting() if force else ():
            self._end(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._waiting():
            if not conn.arriving.octets:
                conn.until = min(conn.until, deadline)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is no HTTP request gets an answer like every refusal. Its text is not quoted: it may be anything."""
        status = UNREADABLE.get(type(exc), 400 if isinstance(exc, ParseException) else 500)
        reason = f"the request can't be read: {type(exc).__name__}" if status != 500 else "internal error"
        log.warning("%s: %s", addr[0] if addr else "a client", reason)
        client.sendall(refusal(status, type(exc).__name__, reason))
