"""A connection to a listener: a thread is used while something can be done for its client, and never to wait for it.

What is waited for has one deadline: for the handshake, the whole request, the client to take the answer.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn

from mutual_tls.server_tls import ServerTls

from . import processors
from .arriving import Arriving, Unacceptable
from .parsing import RememberingParser

log = logging.getLogger(__name__)

LINGER_S = 0.5
RECEIVED_AT_ONCE = 1 << 16


class TimeUp(Exception):
    """What was waited for did not come in time."""


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
        self.descriptor = sock.fileno()
        self._has_answered = False
        self.begins_to_wait = threading.Lock()  # till `epoll` has heard of it
        self.waits_for = 0  # events, while no thread has it
        self._tls = tls
        self._answer = answer
        self._life = self._served()

    def go_on(self, time_is_up: bool = False) -> int:
        """Does what can be done now. The events that it waits for then; 0: it is over."""
        try:
            return self._life.throw(TimeUp()) if time_is_up else next(self._life)
        except (StopIteration, TimeUp, OSError):
            return 0

    def can_go_on(self) -> bool:
        """Whether what it waits for is there."""
        poll = select.poll()  # its events have the same numbers as those of epoll
        poll.register(self.descriptor, self.waits_for)
        return bool(poll.poll(0))

    def close(self, graceful: bool = False) -> None:
        self._life.close()
        with self.begins_to_wait:  # or `epoll` would be told of a descriptor that is nobody's, or another's, by now
            util.close(self.sock)

    def _served(self) -> Iterator[int]:
        if (yield from self._handshake()):
            while (yield from self._one_request()):
                self._has_answered = True
        yield from self._let_the_answer_arrive()

    def _handshake(self) -> Iterator[int]:
        """True when there is a TLS session with a client whose certificate the listener's authority signed."""
        try:
            self.sock = self._tls.wrap(self.sock)
            socket.socket.setblocking(self.sock, False)
            yield from _when_possible(self._shake_hands)
        except (OSError, TimeUp) as error:
            cause = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            cause = "it took too long" if isinstance(error, TimeUp) else cause
            log.warning("listener %s: TLS handshake with %s failed: %s", self.name, self.client[0], cause)
            return False
        self.caller = self.sock.caller = self.sock.getpeercert(binary_form=True)
        self.parser = RememberingParser(self.cfg, self.sock, self.client)
        return True

    def _shake_hands(self) -> None:
        with processors.anywhere():
            self.sock.do_handshake()

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
            if self._has_answered and not arriving.octets:
                yield select.EPOLLIN  # to look for the next request at once would mostly be in vain
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
        with contextlib.suppress(OSError, ValueError):
            self.sock.unwrap()  # its `close_notify` (RFC 8446 clause 6.1): without it, clients call the answer cut off
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
            yield select.EPOLLIN
        except ssl.SSLWantWriteError:
            yield select.EPOLLOUT


class RequestSocket(ssl.SSLSocket):
    """What gunicorn and the application see of a connection: one whole request to read, and room for its answer, which
    is sent when it is complete. Neither ever waits, whatever is done with timeouts."""

    caller: bytes  # the certificate that was shown in the handshake, also in the one that this session resumes
    request = b""
    _unread = memoryview(b"")
    _answer = b""
    _copies = 1

    receive, transmit = ssl.SSLSocket.recv, ssl.SSLSocket.send

    def begin(self, request: bytes) -> None:
        self.request, self._unread = request, memoryview(request)
        self._answer, self._copies = b"", 1

    def skip(self, octet_count: int) -> None:
        self._unread = self._unread[octet_count:]

    def left(self) -> int:
        """How much of the request was not read."""
        return len(self._unread)

    def was_read_to_its_end(self) -> bool:
        return not self._unread

    def end(self) -> bytes:
        """The answer, to be sent."""
        answer, self._answer = self._answer * self._copies, b""
        return answer

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        taken, self._unread = self._unread[:buflen], self._unread[buflen:]
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

    def settimeout(self, value: float | None) -> None:
        """It never waits."""

    def cut_off(self) -> None:
        """A fault on purpose (kme.web.faults): the client sees the connection end, and never the answer."""
        self._copies = 0
        self.shutdown(socket.SHUT_RDWR)

    def answer_twice(self) -> None:
        """A fault on purpose: the next answer goes out as it is, and again."""
        self._copies = 2
