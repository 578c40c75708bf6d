"""How long a listener waits for its clients, and for how many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Deadlines of a connection's steps, and how many a listener has in each worker."""

    handshake_s: float = 10.0  # from accept
    idle_s: float = 75.0  # between requests
    request_s: float = 20.0  # from the first byte of a request to its last
    answer_s: float = 30.0  # for the client to take the answer
    connection_count: int = 2000
