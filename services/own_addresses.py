"""Which of a name's addresses are this host's own: replicas of a process share their names, and each listens at, and
asks for its own health at, its own addresses alone. With the standard library alone, for the health check."""

from __future__ import annotations

import errno
import socket


def own_addresses(name: str) -> list[str]:
    """IPv4 addresses. Raises OSError where the name is unknown, or none of its addresses is this host's."""
    # More than once each otherwise: for every kind of socket.
    found = {entry[4][0]: None for entry in socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)}
    own = [address for address in found if _is_own(address)]
    if not own:
        raise OSError(errno.EADDRNOTAVAIL, f"{', '.join(found)} is not an address of this host")
    return own


def _is_own(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True
