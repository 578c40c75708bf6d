"""Ports for servers that tests start."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Of loopback, all different: chosen one after the other, the system would give the same one twice now and then."""
    with ExitStack() as chosen:
        probes = [chosen.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
