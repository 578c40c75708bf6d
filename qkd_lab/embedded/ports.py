"""Ports on loopback that a lab keeps for itself while it runs."""

from __future__ import annotations

import errno
import socket

from qkd_lab.lab_folder import LabError

TRIED = 500


class Ports:
    """Holds a bound socket per port that never listens: another lab's look finds the port taken, while the process
    it is for, which sets SO_REUSEADDR as servers do, can bind it, also again after a restart."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, wanted: int, known: bool = False) -> int:
        """`wanted`, or the next port that is free. `known`: the lab had it before, so remains of its own connections
        (TIME_WAIT) do not count as taken."""
        for port in range(wanted, min(wanted + TRIED, 65536)):
            if port not in self._held and (held := _hold(port, known and port == wanted)):
                self._held[port] = held
                return port
        raise LabError(f"no free port on 127.0.0.1 from {wanted} to {wanted + TRIED - 1}: stop what uses them")

    def close(self) -> None:
        for held in self._held.values():
            held.close()
        self._held.clear()


def _hold(port: int, reuse: bool) -> socket.socket | None:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if reuse:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        held.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    return held
