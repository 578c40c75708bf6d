"""How connections are served: a thread is used while something can be done for a client, and never to wait for it.

gunicorn's gthread, changed in four places. The listener that accepted a connection decides its TLS context. All waiting
is done by the poller, with a deadline: for the handshake, the whole request, the client to take the answer. Each
listener has threads of its own: SAEs can't keep the peer KME or an operator out. Where a listener is full, whoever has
most connections there loses one.
"""

from __future__ import annotations

import errno
import json
import logging
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import http, util
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.workers.gthread import TConn, ThreadWorker

from mutual_tls.server_tls import ServerTls

from .arriving import Arriving, Unacceptable

log = logging.getLogger(__name__)

LINGER_S = 0.5
SWEPT_EVERY_S = 0.25
TOLD_EVERY_S = 10.0  # that a listener is full
UNFINISHED_BYTES = 64 << 20  # of all requests of a worker that have not wholly arrived
RECEIVED_AT_ONCE = 1 << 16
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}
NO_MORE_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class TimeUp(Exception):
    """What was waited for did not come in time."""


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
        address = listener.getsockname()
        if self._open[address] >= self.cfg.limits.connection_count:
            self._make_room(address)
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in NO_MORE_DESCRIPTORS:
                self._make_room(None)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        if self._open[address] >= self.cfg.limits.connection_count:
            return util.close(sock)
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


def refusal(status: int, reason: str, message: str) -> bytes:
    """An answer in the form of all errors, which ends the connection."""
    body = json.dumps({"message": message}, separators=(",", ":"))
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class ListenerConnection(TConn):
    """A connection to one listener. `answer` is gunicorn's `handle`: it has the application answer the one request that
    lies in the socket, and says whether the connection may be kept."""

    def __init__(
        self, cfg: Any, sock: Any, client: Any, server: Any, name: str, tls: ServerTls, answer: Callable[..., Any]
    ) -> None:
        super().__init__(cfg, sock, client, server)
        self.initialized = True  # gunicorn would do the handshake its way
        self.name = name
        self.caller: bytes | None = None  # the certificate
        self.arriving = Arriving(cfg.max_body_bytes[name])
        self.accepted_at = time.monotonic()
        self.until = self.accepted_at + cfg.limits.handshake_s
        self.time_is_up = False
        self._tls = tls
        self._answer = answer
        self._life = self._served()

    def go_on(self) -> int:
        """Does what can be done now. What the poller is to wait for then; 0: it is over."""
        try:
            return self._life.throw(TimeUp()) if self.time_is_up else next(self._life)
        except (StopIteration, TimeUp, OSError):
            return 0

    def close(self, graceful: bool = False) -> None:
        self._life.close()
        util.close(self.sock)

    def _served(self) -> Iterator[int]:
        if (yield from self._handshake()):
            while (yield from self._one_request()):
                pass
        yield from self._let_the_answer_arrive()

    def _handshake(self) -> Iterator[int]:
        """True when there is a TLS session with a client whose certificate the listener's authority signed."""
        try:
            self.sock = self._tls.wrap(self.sock)
            yield from _when_possible(self.sock.do_handshake)
        except (OSError, TimeUp) as error:
            cause = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            cause = "it took too long" if isinstance(error, TimeUp) else cause
            log.warning("listener %s: TLS handshake with %s failed: %s", self.name, self.client[0], cause)
            return False
        self.caller = self.sock.getpeercert(binary_form=True)
        self.parser = http.get_parser(self.cfg, self.sock, self.client)
        return True

    def _one_request(self) -> Iterator[int]:
        """Whether there may be another."""
        keep = False
        try:
            request = yield from self._whole_request()
        except Unacceptable as error:
            log.warning("listener %s: %s: %s", self.name, self.client[0], error)
            self.sock.sendall(refusal(error.status, "Refused", str(error)))
        else:
            if request is None:
                return False
            self.sock.begin(request)
            keep = self._answer(self) and self.sock.was_read_to_its_end() and not self.parser.unreader.buf.getvalue()
        self._within(self.cfg.limits.answer_s)
        yield from self._send(self.sock.end())
        return keep

    def _whole_request(self) -> Iterator[int]:
        """None: the client has ended the connection, or said nothing for long, between two requests."""
        arriving = self.arriving
        self._within(self.cfg.limits.request_s if arriving.octets else self.cfg.limits.idle_s)
        try:
            while (request := arriving.take()) is None:
                if arriving.waits_for_continue:
                    arriving.waits_for_continue = False
                    yield from self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
                octets = yield from _when_possible(self.sock.receive, RECEIVED_AT_ONCE)
                if not octets:
                    raise EOFError
                if not arriving.octets:
                    self._within(self.cfg.limits.request_s)
                arriving.octets += octets
        except (EOFError, TimeUp) as error:
            if not arriving.octets:
                return None
            if isinstance(error, EOFError):
                raise Unacceptable(400, "the request can't be read: it did not arrive whole") from None
            raise Unacceptable(408, f"the request did not arrive within {self.cfg.limits.request_s:g} s") from None
        return request

    def _send(self, octets: bytes) -> Iterator[int]:
        left = memoryview(octets)
        while left:
            sent = yield from _when_possible(self.sock.transmit, left)
            left = left[sent:]

    def _let_the_answer_arrive(self) -> Iterator[int]:
        """Closing while the client still sends would reset the connection, and the last answer, or the alert that names
        the cause, would be lost."""
        self._within(LINGER_S)
        self.sock.shutdown(socket.SHUT_WR)
        while (yield from _when_possible(partial(socket.socket.recv, self.sock), RECEIVED_AT_ONCE)):
            pass

    def _within(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds


def _when_possible(call: Callable[..., Any], *arguments: Any) -> Iterator[int]:
    while True:
        try:
            return call(*arguments)
        except (ssl.SSLWantReadError, BlockingIOError):
            yield selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            yield selectors.EVENT_WRITE


class RequestSocket(ssl.SSLSocket):
    """What gunicorn and the application see of a connection: one whole request to read, and room for its answer, which
    is sent when it is complete. Neither ever waits, whatever is done with timeouts."""

    _request = memoryview(b"")
    _answer = b""
    _copies = 1

    receive, transmit = ssl.SSLSocket.recv, ssl.SSLSocket.send

    def begin(self, request: bytes) -> None:
        self._request = memoryview(request)
        self._answer, self._copies = b"", 1

    def was_read_to_its_end(self) -> bool:
        return not self._request

    def end(self) -> bytes:
        """The answer, to be sent."""
        answer, self._answer = self._answer * self._copies, b""
        return answer

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        taken, self._request = self._request[:buflen], self._request[buflen:]
        return bytes(taken)

    def send(self, data: Any, flags: int = 0) -> int:
        """gunicorn's `100 Continue`: the client has had its own, or the body is there."""
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        if not self._copies:
            raise BrokenPipeError(errno.EPIPE, "the connection was cut off on purpose")
        self._answer += data

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def cut_off(self) -> None:
        """A fault on purpose (kme.web.faults): the client sees the connection end, and never the answer."""
        self._copies = 0
        self.shutdown(socket.SHUT_RDWR)

    def answer_twice(self) -> None:
        """A fault on purpose: the next answer goes out as it is, and again."""
        self._copies = 2
