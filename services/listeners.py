"""One gunicorn server per process, with a listener per kind of caller: each has its own TLS context and application.

Python's ssl cannot tell which authority verified a chain, so a listener trusts exactly one, and the application is
chosen by the TLS context that verified the caller: a request can't reach an application whose authority did not vouch
for it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gunicorn import http
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from mutual_tls.app import CERTIFICATE
from mutual_tls.contexts import Credentials, server_context

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
ALERT_WAIT_S = 0.5
KEEPALIVE_S = 75
GRACEFUL_STOP_S = 5
WORKER_SILENCE_S = 120


@dataclass(frozen=True)
class Listener:
    """`bind` is `host:port`; `callers` the one authority's certificate; `app` makes the WSGI app in a worker."""

    name: str
    bind: str
    callers: Path
    app: Callable[[], Any]


class Server(BaseApplication):
    """Serves `listeners` until it is told to stop.

    `background`, if given, runs in a thread of the (then only) worker; its event is set when the worker stops.
    """

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        listeners: list[Listener],
        *,
        threads: int,
        workers: int = 1,
        background: Callable[[threading.Event], None] | None = None,
    ) -> None:
        self._name = name
        self._credentials = credentials
        self._listeners = listeners
        self._options = {"threads": threads, "workers": workers}
        self._background = background
        # Made here, in the master: resumption tickets of one worker are then good at every other.
        self._contexts = [server_context(credentials, listener.callers) for listener in listeners]
        super().__init__()

    def load_config(self) -> None:
        for key, value in {
            **self._options,
            "bind": [listener.bind for listener in self._listeners],
            "worker_class": ListenerWorker,
            "logger_class": ProcessLog,
            "proc_name": self._name,
            # These two only tell gunicorn that the scheme is https: each listener has its own context.
            "certfile": str(self._credentials.certificate),
            "keyfile": str(self._credentials.key),
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACEFUL_STOP_S,
            "timeout": WORKER_SILENCE_S,
            "post_worker_init": self._start_background,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(key, value)
        self.cfg.listener_contexts = {
            listener.name: context for listener, context in zip(self._listeners, self._contexts, strict=True)
        }

    def load(self) -> Callable[..., Any]:
        apps = {id(context): listener.app() for context, listener in zip(self._contexts, self._listeners, strict=True)}

        def by_listener(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            connection: ssl.SSLSocket = environ["gunicorn.socket"]
            environ[CERTIFICATE] = connection.getpeercert(binary_form=True)
            return apps[id(connection.context)](environ, start_response)

        return by_listener

    def _start_background(self, worker: ListenerWorker) -> None:
        if self._background is not None:
            threading.Thread(target=self._run_background, args=(worker,), name="background", daemon=True).start()

    def _run_background(self, worker: ListenerWorker) -> None:
        assert self._background is not None
        try:
            self._background(worker.stopping)
        except Exception:
            log.exception("the background work of %s failed; the worker is replaced", self._name)
        finally:
            worker.handle_exit(None, None)  # the master starts another, unless it is stopping itself


class ListenerWorker(ThreadWorker):
    """gthread, where the listener that accepted a connection decides its TLS context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopping = threading.Event()

    def init_process(self) -> None:
        named = self.cfg.listener_contexts.items()
        self._listeners = {s.getsockname(): item for s, item in zip(self.sockets, named, strict=True)}
        super().init_process()

    def accept(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        address = listener.getsockname()
        self.enqueue_req(ListenerConnection(self.cfg, sock, client, address, *self._listeners[address]))

    def handle_exit(self, sig: Any, frame: Any) -> None:
        self.stopping.set()
        super().handle_exit(sig, frame)


class ListenerConnection(TConn):
    """A connection to one listener. Its TLS handshake has a time limit: a silent client must not hold a thread."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, name: str, context: ssl.SSLContext) -> None:
        super().__init__(cfg, sock, client, server)
        self._name = name
        self._context = context

    def init(self) -> None:
        if self.initialized:
            return
        self.initialized = True
        self.sock.settimeout(HANDSHAKE_TIMEOUT_S)
        self.sock = self._context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        try:
            self.sock.do_handshake()
        except OSError as error:
            cause = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            log.warning("listener %s: TLS handshake with %s failed: %s", self._name, self.client[0], cause)
            self._let_the_alert_arrive()
            raise StopIteration("no TLS session") from error
        self.sock.setblocking(True)
        self.parser = http.get_parser(self.cfg, self.sock, self.client)

    def _let_the_alert_arrive(self) -> None:
        """Closing while the client still sends would reset the connection: the alert that names the cause is lost."""
        self.sock = socket.socket(fileno=self.sock.detach())
        until = time.monotonic() + ALERT_WAIT_S
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not self.sock.recv(1 << 16):
                    break


class ProcessLog(Logger):
    """gunicorn's own lines go to the process's log, in its format."""

    def setup(self, cfg: Any) -> None:
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
