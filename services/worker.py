"""The worker: it accepts, waits for all clients at once, and gives what can be done to threads.

gunicorn's gthread, changed in three places. The listener that accepted a connection decides its TLS context. All
waiting is done by the poller. Each listener has threads of its own: SAEs can't keep the peer KME or an operator out.
Where a listener is full, whoever has most connections there loses one.
"""

from __future__ import annotations

import errno
import logging
import selectors
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.workers.gthread import ThreadWorker

from .connections import ListenerConnection, refusal

log = logging.getLogger(__name__)

SWEPT_EVERY_S = 0.25
TOLD_EVERY_S = 10.0  # that a listener is full
UNFINISHED_BYTES = 64 << 20  # of all requests of a worker that have not wholly arrived
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}
NO_MORE_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class ListenerWorker(ThreadWorker):
    """A worker with several listeners; `cfg.listener_tls`: name and TLS of each, in the order of binds;
    `cfg.limits`; `cfg.max_body_bytes`: by a listener's name, from when the applications are made."""

    def init_process(self) -> None:
        self._listeners = {
            sock.getsockname(): (name, tls, ThreadPoolExecutor(self.cfg.threads, name))
            for sock, (name, tls) in zip(self.sockets, self.cfg.listener_tls, strict=True)
        }
        self._open = Counter[Any]()
        self._waiting: set[ListenerConnection] = set()
        self._swept_at = self._told_at = 0.0
        super().init_process()

    def accept(self, listener: Any) -> None:
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
        name, tls, _ = self._listeners[address]
        conn = ListenerConnection(self.cfg, sock, client, address, name, tls, super().handle)
        self.nr_conns += 1
        self._open[address] += 1
        self._wait(conn, selectors.EVENT_READ)

    def enqueue_req(self, conn: Any) -> None:
        *_, threads = self._listeners[conn.server]
        future = threads.submit(conn.go_on)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Any, done: Any) -> None:
        try:
            events = done.result()
        except Exception:
            log.exception("listener %s: a connection failed", conn.name)
            events = 0
        if events:
            self._wait(conn, events)
        else:
            self._close(conn)

    def _wait(self, conn: ListenerConnection, events: int) -> None:
        self._waiting.add(conn)
        self.poller.register(conn.sock, events, partial(self._go_on, conn))

    def _go_on(self, conn: ListenerConnection, _: Any = None) -> None:
        conn.time_is_up = conn.until <= time.monotonic()  # not later: waiting for a thread is not the client's fault
        self._wait_no_more(conn)
        self.enqueue_req(conn)

    def _wait_no_more(self, conn: ListenerConnection) -> None:
        self._waiting.discard(conn)
        self.poller.unregister(conn.sock)

    def _close(self, conn: ListenerConnection) -> None:
        self.nr_conns -= 1
        self._open[conn.server] -= 1
        conn.close()

    def _make_room(self, address: Any) -> None:
        """Closes the oldest connection of the caller who has most of those that wait; who has not yet shown a
        certificate is nobody, and nobody is one caller. `address`: a listener's, or None: of all."""
        waiting = [conn for conn in self._waiting if address in (None, conn.server)]
        if not waiting:
            return
        ((caller, _),) = Counter(conn.caller for conn in waiting).most_common(1)
        oldest = min((conn for conn in waiting if conn.caller == caller), key=lambda conn: conn.accepted_at)
        if time.monotonic() > self._told_at + TOLD_EVERY_S:
            self._told_at = time.monotonic()
            log.warning("listener %s has too many connections: one from %s is closed", oldest.name, oldest.client[0])
        self._wait_no_more(oldest)
        self._close(oldest)

    # gunicorn calls these three in its loop, and when it stops.

    def murder_pending(self) -> None:
        now = time.monotonic()
        if now < self._swept_at + SWEPT_EVERY_S:
            return
        self._swept_at = now
        for conn in [one for one in self._waiting if one.until <= now]:
            self._go_on(conn)
        unfinished = sorted(self._waiting, key=lambda conn: len(conn.arriving.octets))
        total = sum(len(conn.arriving.octets) for conn in unfinished)
        while total > UNFINISHED_BYTES:
            largest = unfinished.pop()
            total -= len(largest.arriving.octets)
            log.warning("listener %s: too much has arrived of unfinished requests: one is cut off", largest.name)
            self._wait_no_more(largest)
            self._close(largest)

    def murder_keepalived(self, force: bool = False) -> None:
        for conn in list(self._waiting) if force else ():
            self._wait_no_more(conn)
            self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._waiting:
            if not conn.arriving.octets:
                conn.until = min(conn.until, deadline)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is no HTTP request gets an answer like every refusal. Its text is not quoted: it may be anything."""
        status = UNREADABLE.get(type(exc), 400 if isinstance(exc, ParseException) else 500)
        reason = f"the request can't be read: {type(exc).__name__}" if status != 500 else "internal error"
        log.warning("%s: %s", addr[0] if addr else "a client", reason)
        client.sendall(refusal(status, type(exc).__name__, reason))
