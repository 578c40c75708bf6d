"""The dashboard's page: plain HTTP for browsers of this host, which have no certificate.

Apart from the listeners: these answer whole requests with whole answers, while a browser hears events on one connection
for as long as it shows the page. So each connection has a thread, and there are so many of them and no more.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler

MAX_CONNECTIONS = 64
SILENCE_S = 30.0  # of a browser that is to send, or to take, something


class PageServer:
    """Serves `app`, which is made when it runs, at each of `binds` (`ip:port`)."""

    def __init__(self, binds: tuple[str, ...], app: Callable[[], Any]) -> None:
        self._binds = binds
        self._app = app
        self._serving = threading.Event()

    def fault(self) -> str | None:
        """In words, for the process's health."""
        return None if self._serving.is_set() else "the page is not served yet"

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`. Raises OSError where it can't listen."""
        app = self._app()
        with contextlib.ExitStack() as ending:
            for bind in self._binds:
                host, _, port = bind.rpartition(":")
                server = _Server(host, int(port), app, _Handler)
                ending.callback(server.server_close)
                threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
                ending.callback(server.shutdown)
            self._serving.set()
            stopping.wait()


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # events come in chunks
    timeout = SILENCE_S

    def version_string(self) -> str:
        return "qkd-lab"

    def log(self, type: str, message: str, *args: Any) -> None:
        """A request is not worth a line, and its path may be anything."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        BaseWSGIServer.__init__(self, *arguments)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()
