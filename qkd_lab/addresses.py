"""The address book of a network: where each listener of each process is reached.

`.lab/addresses.json` is for the processes, `.lab/endpoints.json` for clients on the host. The same lab has the same
addresses each time: in containers they are fixed, on one host each process has its preferred port or the next free one.
"""

from __future__ import annotations

from collections.abc import Callable

from qkd_lab.processes import Process, processes
from qkd_lab.topology import Topology

AddressBook = dict[str, dict[str, str]]

# By kind and listener: the first process's port on the host, the next one's is one higher. All lie below the range the
# system gives to outgoing connections, so that a stopped lab's port is not lost to one of these.
HOST_PORTS = {
    ("kme", "sae"): 8000,
    ("dashboard", "page"): 8080,
    ("sae", "app"): 8100,
    ("kme", "ops"): 9000,
    ("scheduler", "ops"): 9100,
    ("qkde", "ops"): 9200,
    ("qlink", "ops"): 9300,
    ("sae", "ops"): 9400,
    ("dashboard", "ops"): 9500,
    ("kme", "peer"): 10000,
    ("kme", "qkde"): 10100,
    ("qkde", "kme"): 10200,
    ("qkde", "classical"): 10300,
    ("qlink", "qkd"): 10400,
    ("postgres", "sql"): 10500,
    ("redis", "redis"): 10600,
}

# In a container, where each process has a host of its own.
CONTAINER_PORTS = {
    ("kme", "sae"): 8443,
    ("kme", "peer"): 8444,
    ("kme", "qkde"): 8445,
    ("qkde", "kme"): 8443,
    ("qkde", "classical"): 8444,
    ("qlink", "qkd"): 8443,
    ("sae", "app"): 8443,
    ("dashboard", "page"): 8080,
    ("postgres", "sql"): 5432,
    ("redis", "redis"): 6379,
}
CONTAINER_OPS_PORT = 9443

MAIN_LISTENER = {"kme": "sae", "sae": "app", "dashboard": "page"}


def embedded(
    topology: Topology, take_port: Callable[[int, bool], int], known: AddressBook | None = None
) -> AddressBook:
    """Addresses on this host's loopback. `take_port(wanted, known)` gives the port itself or the next free one.

    `known`: the address book of the lab that is resumed; its ports are wanted first, since clients may know them.
    """
    known = known or {}
    book: AddressBook = {}
    for process, listener in _listeners(topology):
        before = known.get(process.name, {}).get(listener, "")
        wanted = int(before.rpartition(":")[2]) if before else host_port(process, listener)
        book.setdefault(process.name, {})[listener] = f"127.0.0.1:{take_port(wanted, bool(before))}"
    return book


def compose(topology: Topology) -> AddressBook:
    """Addresses between containers. A listener has a host name of its own, an alias on the one network it is for, so
    that it listens there and nowhere else; a database is reached by its service name."""
    book: AddressBook = {}
    for process, listener in _listeners(topology):
        port = CONTAINER_PORTS.get((process.kind, listener), CONTAINER_OPS_PORT)
        host = listener_host(process, listener) if process.module else process.name
        book.setdefault(process.name, {})[listener] = f"{host}:{port}"
    return book


def listener_host(process: Process, listener: str) -> str:
    """A listener's host name between containers, for example `qkde-a.classical`."""
    return f"{process.name}.{listener}"


def host_port(process: Process, listener: str) -> int:
    """The port a listener has on the host by default; in docker-compose.yml these are the published ones."""
    return HOST_PORTS[process.kind, listener] + process.index


def published(topology: Topology) -> AddressBook:
    """Where the host reaches the listeners that docker-compose.yml publishes on loopback: see `endpoints`."""
    book: AddressBook = {}
    for process, listener in _listeners(topology):
        book.setdefault(process.name, {})[listener] = f"127.0.0.1:{host_port(process, listener)}"
    return book


def endpoints(topology: Topology, book: AddressBook) -> dict[str, str]:
    """What the host may call: the KMEs, demo SAEs and dashboard by name, every operator listener as `<name>.ops`.

    `book` is `embedded(...)` or `published(...)`.
    """
    urls = {}
    for process, listener in _listeners(topology):
        name = {"ops": f"{process.name}.ops", MAIN_LISTENER.get(process.kind): process.name}.get(listener)
        if name:
            scheme = "https" if process.listeners[listener] else "http"
            urls[name] = f"{scheme}://{book[process.name][listener]}"
    return urls


def _listeners(topology: Topology):
    return ((process, listener) for process in processes(topology) for listener in process.listeners)
