"""How connections are served: a thread is used while a request is being answered, and for nothing else.

gunicorn's gthread, changed in four places. The listener that accepted a connection decides its TLS context. In the
poller a connection waits for its first bytes, and between TLS handshake and request. Handshake and request have
deadlines, so that a client that sends slowly or not at all is cut off. Each listener has threads of its own: SAEs can't
keep the peer KME or an operator out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import selectors
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import http, util
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from mutual_tls.server_tls import ServerTls

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
REQUEST_S = 20.0  # from the first byte of a request to its last
ANSWER_S = 30.0  # for the client to take the answer
LINGER_S = 0.5
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}


class ListenerWorker(ThreadWorker):
    """A worker with several listeners; `cfg.listener_tls`: name and TLS of each, in the order of binds."""

    def init_process(self) -> None:
        self._listeners = {
            sock.getsockname(): (name, tls, ThreadPoolExecutor(self.cfg.threads, name))
            for sock, (name, tls) in zip(self.sockets, self.cfg.listener_tls, strict=True)
        }
        super().init_process()

    def accept(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        address = listener.getsockname()
        name, tls, _ = self._listeners[address]
        conn = ListenerConnection(self.cfg, sock, client, address, name, tls)
        self.nr_conns += 1
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Any) -> None:
        *_, threads = self._listeners[conn.server]
        future = threads.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def handle(self, conn: Any) -> Any:
        if not conn.initialized:
            if not conn.handshake():
                return False
            conn.data_ready = False
            if not conn.wait_for_data(0):
                return _DEFER
        keep = super().handle(conn)
        if isinstance(conn.sock, RequestSocket):
            conn.sock.send_held_head()
        if keep is False:
            conn.let_the_answer_arrive()
        return keep

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is no HTTP request gets an answer like every refusal. Its text is not quoted: it may be anything."""
        status = UNREADABLE.get(type(exc), 400 if isinstance(exc, ParseException) else 500)
        reason = f"the request can't be read: {type(exc).__name__}" if status != 500 else "internal error"
        log.warning("%s: %s", addr[0] if addr else "a client", reason)
        body = json.dumps({"message": reason}, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} {type(exc).__name__}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with contextlib.suppress(OSError):
            util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class ListenerConnection(TConn):
    """A connection to one listener; `tls` is None for plain HTTP."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, name: str, tls: ServerTls | None) -> None:
        super().__init__(cfg, sock, client, server)
        self._name = name
        self._tls = tls

    def handshake(self) -> bool:
        """True when there is a TLS session with a client whose certificate the listener's authority signed."""
        self.initialized = True
        self.sock.settimeout(HANDSHAKE_S)
        try:
            if self._tls is not None:
                self.sock = self._tls.wrap(self.sock)
                self.sock.do_handshake()
        except OSError as error:
            cause = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            log.warning("listener %s: TLS handshake with %s failed: %s", self._name, self.client[0], cause)
            self.let_the_answer_arrive()
            return False
        self.parser = http.get_parser(self.cfg, self.sock, self.client)
        return True

    def let_the_answer_arrive(self) -> None:
        """Closing while the client still sends would reset the connection, and the last answer, or the alert that names
        the cause, would be lost."""
        until = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not socket.socket.recv(self.sock, 1 << 16):
                    break

    def close(self, graceful: bool = False) -> None:
        """At once: this runs in the thread that accepts, which must not wait for anybody."""
        util.close(self.sock)


class RequestSocket(ssl.SSLSocket):
    """gunicorn makes a socket blocking when a request begins: from then on all of it has REQUEST_S to arrive.

    It sends an answer's head and body in two writes. Some clients read once and take that for all, so the head waits
    for the body, and both leave as one TLS record where they fit into one.
    """

    _until: float | None = None
    _head = b""
    _copies = 1

    def cut_off(self) -> None:
        """A fault on purpose (kme.web.faults): the client sees the connection end, and never the answer."""
        self._copies = 0
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)

    def answer_twice(self) -> None:
        """A fault on purpose: the next answer goes out as it is, and again."""
        self._copies = 2

    def sendall(self, data: Any, flags: int = 0) -> None:
        if not self._head and data[:7] == b"HTTP/1." and data[-4:] == b"\r\n\r\n":
            self._head = bytes(data)
            return
        head, self._head = self._head, b""
        if not self._copies:
            raise BrokenPipeError(errno.EPIPE, "the connection was cut off on purpose")
        copies, self._copies = self._copies, 1
        super().sendall((head + data) * copies if head or copies > 1 else data, flags)

    def send_held_head(self) -> None:
        """The head of an answer without a body."""
        if self._head:
            head, self._head = self._head, b""
            with contextlib.suppress(OSError):
                super().sendall(head)

    def setblocking(self, flag: bool) -> None:
        super().setblocking(flag)
        self._until = time.monotonic() + REQUEST_S if flag else None
        if flag:
            self.settimeout(ANSWER_S)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._until is None:
            return super().recv(buflen, flags)
        left = self._until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            return super().recv(buflen, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the request did not arrive in time") from None
        finally:
            self.settimeout(ANSWER_S)
