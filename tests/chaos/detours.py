"""Proxies in front of a lab's listeners, through which a test disturbs what its processes say to each other.

Each listens on a port of its own; the lab is told to dial there (QKD_DETOURS). What passes is TLS, or the databases'
own protocols: a proxy sees bytes and connections, nothing more.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from pathlib import Path

CHUNK_BYTES = 16_384
MODES = ("pass", "refuse", "stall", "slow", "truncate", "duplicate")


class Proxy:
    """`mode`: `pass`; `refuse`: connections are closed; `stall`: they stay open, and nothing passes; `slow`: every
    chunk waits; `truncate`: an answer ends in the middle; `duplicate`: chunks of an answer come twice."""

    def __init__(self, name: str, listener: str, book: Path, seed: int) -> None:
        self.name, self.listener = name, listener
        self.mode = "pass"
        self._book = book
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True, name=f"detour {name}.{listener}").start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def set(self, mode: str) -> None:
        """From now on; a mode that ends connections ends those that are open."""
        assert mode in MODES
        self.mode = mode
        if mode == "refuse":
            self._cut()

    def close(self) -> None:
        self._server.close()
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.mode == "refuse":
                return
            host, _, port = json.loads(self._book.read_text())[self.name][self.listener].rpartition(":")
            try:
                upstream = socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                return
            upstream.settimeout(None)
            with upstream:
                with self._lock:
                    self._open |= {client, upstream}
                answers = threading.Thread(target=self._pump, args=(upstream, client, True), daemon=True)
                answers.start()
                self._pump(client, upstream, False)
                answers.join()
                with self._lock:
                    self._open -= {client, upstream}

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                while self.mode == "stall":
                    time.sleep(0.05)
                if self.mode == "slow":
                    time.sleep(0.05)
                if answers and self.mode == "truncate" and self._random.random() < 0.5:
                    sink.sendall(chunk[: len(chunk) // 2])
                    break
                sink.sendall(chunk)
                if answers and self.mode == "duplicate" and self._random.random() < 0.5:
                    sink.sendall(chunk)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Detours:
    """A proxy for each listener of the lab that its own processes dial."""

    def __init__(self, folder: Path, listeners: list[tuple[str, str]], seed: int) -> None:
        book = folder / ".lab" / "addresses.json"
        self.proxies = {
            f"{name}.{listener}": Proxy(name, listener, book, seed + number)
            for number, (name, listener) in enumerate(listeners)
        }
        self.file = folder / "detours.json"
        told: dict[str, dict[str, str]] = {}
        for proxy in self.proxies.values():
            told.setdefault(proxy.name, {})[proxy.listener] = proxy.address
        self.file.write_text(json.dumps(told))

    def set(self, names: list[str], mode: str) -> None:
        for name in names:
            self.proxies[name].set(mode)

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()
