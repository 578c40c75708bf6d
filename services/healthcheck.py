"""Asks this container's own process how it is, as the health probe: exit status 0 when it is well.

With the standard library alone: it runs every few seconds in every container, and most of its time is what it imports.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path

from .own_addresses import own_addresses

TIMEOUT_S = 3.0


def main() -> None:
    try:
        process, probe = os.environ["QKD_PROCESS"], Path(os.environ["QKD_PKI"]) / "probe"
        address = json.loads(Path(os.environ["QKD_ADDRESSES"]).read_text())[process]["ops"]
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=probe / "ca.pem")
        context.load_cert_chain(probe / "cert.pem", probe / "key.pem")
        connection = http.client.HTTPSConnection(host, int(port))
        # Not by its name, which may be that of other replicas, too.
        plain = socket.create_connection((own_addresses(host)[0], int(port)), TIMEOUT_S)
        with context.wrap_socket(plain, server_hostname=host) as connection.sock:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
    except (KeyError, ValueError, OSError, http.client.HTTPException) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if answer.status != 200:
        sys.exit(f"/healthz answered {answer.status}")


if __name__ == "__main__":
    main()
