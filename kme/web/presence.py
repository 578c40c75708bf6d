"""Whether the caller of the request being served still waits for its answer, as far as its connection tells."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

_RECORD_HEADER = 5
_ALERT, _APPLICATION_DATA = 21, 23
# An encrypted alert in TLS 1.3 looks like data of two bytes, one for its true type, and a tag of 16 (RFC 8446, 5.2).
_ENCRYPTED_ALERT_LENGTH = 2 + 1 + 16


def presence(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A question that may be asked while the request is served; where the server does not tell, the caller is there."""
    connection = environ.get("gunicorn.socket")
    return lambda: connection is None or not has_gone(connection)


def has_gone(connection: socket.socket) -> bool:
    """Whether the other end has closed a TLS connection that it sends nothing else on; nothing is taken from it."""
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if not poll.poll(0):
            return False
        # Around TLS: what has come is a record that belongs to nobody yet.
        header = socket.socket.recv(connection, _RECORD_HEADER, socket.MSG_PEEK)
    except (OSError, ValueError):
        return True
    if len(header) < _RECORD_HEADER:
        return not header
    kind, length = header[0], int.from_bytes(header[3:5])
    return kind == _ALERT or (kind == _APPLICATION_DATA and length <= _ENCRYPTED_ALERT_LENGTH)
