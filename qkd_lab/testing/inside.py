"""What runs in the container of a test's network: the lab's supervisor, which is told where the container is reached.

Which address that is depends on where the test runs (testcontainers' connection modes): at a published port of Docker's
host, of the gateway of the container's own network, or at the container itself. The last two are known only here.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from qkd_lab.embedded import supervisor

ROUTES = Path("/proc/net/route")


def own_hosts() -> set[str]:
    """This container's address and that of its gateway, where it has one."""
    found = {socket.gethostbyname(socket.gethostname())}
    for line in ROUTES.read_text().splitlines()[1:]:
        _, destination, gateway, *_ = line.split()
        if int(destination, 16) == 0:  # in the order of this host's octets, as the kernel has them
            found.add(socket.inet_ntoa(int(gateway, 16).to_bytes(4, "little")))
    return found


if __name__ == "__main__":
    os.environ["QKD_LAB_HOSTS"] = " ".join([os.environ.get("QKD_LAB_HOSTS", ""), *sorted(own_hosts())])
    supervisor.main()
