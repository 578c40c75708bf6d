"""Proxies in front of a lab's listeners, through which a test disturbs what its processes say to each other.

Each listens on a port of its own; the lab is told to dial there (QKD_DETOURS). What passes is TLS, or the databases'
own protocols: a proxy sees octets and connections, nothing more.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

CHUNK_BYTES = 16_384
SLOW_S = 0.05
CONNECT_S = 5
LOST_S = 60.0  # by then the keepalive of TCP would have shown that a connection is dead
MODES = {
    "pass": "all is well",
    "refuse": "connections are closed, new ones at once",
    "stall": "connections stay open, and what is sent waits",
    "half-open": "what is sent is lost; connections of that time never work again, and do not end for a minute",
    "slow": "every chunk waits",
    "truncate": "an answer ends in the middle, and with it the connection",
    "duplicate": "chunks of an answer come twice",
    "garble": "octets of an answer are others",
}


class Proxy:
    """`target()` is where it leads, asked anew for each connection; `mode` one of MODES, at first `pass`."""

    def __init__(self, target: Callable[[], tuple[str, int]], seed: int) -> None:
        self.mode = "pass"
        self._target = target
        self._random = random.Random(seed)
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._closed = threading.Event()
        self._passing = threading.Event()
        self._passing.set()
        self._open: set[Way] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True, name="detour").start()

    @property
    def port(self) -> int:
        return self._server.getsockname()[1]

    def set(self, mode: str) -> None:
        """From now on; what a mode does to connections it does to those that are open, too."""
        assert mode in MODES
        with self._lock:
            self.mode = mode
            ways = set(self._open)
        for way in ways:
            if mode == "refuse":
                way.cut()
            elif mode == "half-open":
                way.lose()
        if mode == "stall":
            self._passing.clear()
        else:
            self._passing.set()

    def say(self, octets: bytes) -> None:
        """To the client of each open connection, before whatever comes next."""
        with self._lock:
            for way in self._open:
                way.say(octets)

    def close(self) -> None:
        self._closed.set()
        self.set("refuse")
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True, name="detour").start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self.mode == "refuse":
                return
            with socket.create_connection(self._target(), timeout=CONNECT_S) as upstream:
                upstream.settimeout(None)
                way = Way(client, upstream)
                with self._lock:
                    self._open.add(way)
                    if self.mode == "half-open":
                        way.lose()
                    elif self.mode == "refuse":
                        way.cut()
                answers = threading.Thread(target=self._pump, args=(way, upstream, client, True), daemon=True)
                answers.start()
                self._pump(way, client, upstream, False)
                answers.join()
                with self._lock:
                    self._open.remove(way)

    def _pump(self, way: Way, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                self._passing.wait()
                if self.mode == "slow":
                    self._closed.wait(SLOW_S)
                if way.lost:
                    continue
                struck = answers and self._random.random() < 0.5
                if struck and self.mode == "truncate":
                    sink.sendall(chunk[: len(chunk) // 2])
                    break
                if struck and self.mode == "garble":
                    chunk = bytes(octet ^ 0x55 for octet in chunk)
                sink.sendall(chunk)
                if struck and self.mode == "duplicate":
                    sink.sendall(chunk)
        if way.lost:
            way.over.wait()  # neither end hears that the other has gone
        way.cut()


class Way:
    """One connection through a proxy: both its sockets."""

    def __init__(self, *ends: socket.socket) -> None:
        self.lost = False
        self.over = threading.Event()
        self._ends = ends

    def say(self, octets: bytes) -> None:
        client, _ = self._ends
        client.sendall(octets)

    def lose(self) -> None:
        """Nothing gets through any more, and nobody is told, for LOST_S."""
        self.lost = True
        timer = threading.Timer(LOST_S, self.cut)
        timer.daemon = True
        timer.start()

    def cut(self) -> None:
        self.over.set()
        for one in self._ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Detours:
    """A proxy for each listener of the lab that its own processes dial; `file` is what QKD_DETOURS names."""

    def __init__(self, folder: Path, listeners: Iterable[tuple[str, str]], seed: int) -> None:
        self.proxies: dict[str, Proxy] = {}
        told: dict[str, dict[str, str]] = {}
        for number, (name, listener) in enumerate(listeners):
            proxy = Proxy(_in_book(folder / ".lab" / "addresses.json", name, listener), seed + number)
            self.proxies[f"{name}.{listener}"] = proxy
            told.setdefault(name, {})[listener] = f"127.0.0.1:{proxy.port}"
        self.file = folder / "detours.json"
        self.file.write_text(json.dumps(told))

    def set(self, names: list[str], mode: str) -> None:
        for name in names:
            self.proxies[name].set(mode)

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()


def _in_book(book: Path, name: str, listener: str) -> Callable[[], tuple[str, int]]:
    def address() -> tuple[str, int]:
        host, _, port = json.loads(book.read_text())[name][listener].rpartition(":")
        return host, int(port)

    return address
