"""The programs of a lab: its database servers and its services, each with its environment and its health check."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import qkd_lab
from mutual_tls.client import Peer, PeerError
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from qkd_lab import configuration
from qkd_lab.addresses import AddressBook
from qkd_lab.embedded.child import Program
from qkd_lab.embedded.databases import NotReady, Postgres, Redis, Servers
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.private_files import private_folder
from qkd_lab.processes import Process, services, stores
from qkd_lab.topology import Topology

# Names another package of entry modules than the lab's own; tests use it.
SERVICES_VARIABLE = "QKD_LAB_SERVICES"
HEALTH_TIMEOUT_S = 3.0

# What most services import. Not prometheus_client, which looks at its importer's environment, and not Qiskit: a key
# never lies in a process that has it.
SHARED_MODULES = (
    "flask",
    "gunicorn.app.base",
    "gunicorn.workers.gthread",
    "kme.web.operator",
    "kme.web.sae",
    "mutual_tls.app",
    "mutual_tls.client",
    "qkd_lab.setting_tables",
    "qkd_lab.topology",
    "qkde.node.ends",
    "qkde.node.web",
)


def programs(
    lab: LabFolder, topology: Topology, book: AddressBook, servers: Servers, environ: Mapping[str, str]
) -> list[Program]:
    """Everything that runs, in the order of starting."""
    package, folder = services_package(environ)
    databases = [_database(lab, process, book, servers, environ) for process in stores(topology)]
    return databases + [_service(lab, process, book, package, folder, environ) for process in services(topology)]


def services_package(environ: Mapping[str, str]) -> tuple[str, Path]:
    """The package of entry modules and the folder to be put on its path: `services` in a checkout, else
    `qkd_lab.services`. It is never imported here."""
    home = Path(qkd_lab.__file__).resolve().parent.parent
    if package := environ.get(SERVICES_VARIABLE):
        return package, home
    if (home / "services" / "process.py").exists():
        return "services", home
    if importlib.util.find_spec("qkd_lab.services"):
        return "qkd_lab.services", home
    raise LabError(f"the lab's services are not installed beside {home / 'qkd_lab'}: install the whole package again")


def _database(
    lab: LabFolder, process: Process, book: AddressBook, servers: Servers, environ: Mapping[str, str]
) -> Program:
    port = int(book[process.name][next(iter(process.listeners))].rpartition(":")[2])
    secret = (lab.secrets(process.name) / f"{process.kind}.password").read_text()
    if process.kind == "postgres":
        server: Postgres | Redis = Postgres(
            process.name, servers.postgres, servers.postgres_user, servers.data, port, secret
        )
        # Fast shutdown; immediate shutdown, in which the postmaster takes its children along.
        stop_signal, death_signal = signal.SIGINT, signal.SIGQUIT
    else:
        appendfsync = configuration.read("QKD_APPENDFSYNC", environ)
        server = Redis(process.name, servers.redis, servers.redis_user, servers.data, port, secret, appendfsync)
        stop_signal, death_signal = signal.SIGTERM, signal.SIGKILL
    return Program(
        process.name,
        process.kind,
        server.command,
        server.check,
        lab.log(process.name),
        servers.data,
        {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        server.user,
        stop_signal=stop_signal,
        death_signal=death_signal,
    )


def _service(
    lab: LabFolder, process: Process, book: AddressBook, package: str, folder: Path, environ: Mapping[str, str]
) -> Program:
    # A KME's two processes share what must not be lost: its key-encryption keys.
    keeper = process.id if process.kind == "scheduler" else process.name
    state = private_folder(lab.process_state(keeper))
    path = [str(folder), *filter(None, [environ.get("PYTHONPATH")])]
    needs_stores = process.kind in ("kme", "scheduler")
    return Program(
        process.name,
        process.kind,
        lambda: ["-m", f"{package}.{process.module}"],
        _health(lab, process, book[process.name]["ops"]),
        lab.log(process.name),
        state,
        {
            **environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
            "QKD_PROCESS": process.name,
            "QKD_TOPOLOGY": str(lab.topology),
            "QKD_ADDRESSES": str(lab.addresses),
            "QKD_PKI": str(lab.pki),
            "QKD_SECRETS": str(lab.secrets(process.name)),
            "QKD_STATE": str(state),
            "QKD_KEYS": str(lab.keys),
            "PROMETHEUS_MULTIPROC_DIR": str(lab.metrics(process.name)),
            "QKD_LOG_LEVEL": environ.get("QKD_LOG_LEVEL", "INFO"),
        },
        after=(f"postgres-{process.site}", f"redis-{process.site}") if needs_stores else (),
    )


def _health(lab: LabFolder, process: Process, address: str) -> Callable[[], None]:
    """Asks the process's operator listener, as the health probe, over mutual TLS."""
    peer: Peer | None = None

    def check() -> None:
        nonlocal peer
        if peer is None:
            credentials = Credentials.in_folder(lab.identity("probe"))
            peer = Peer(
                address, Identity(process.role, process.id), credentials, timeout_s=HEALTH_TIMEOUT_S, pool_size=1
            )
        try:
            peer.request("GET", "/healthz")
        except PeerError as error:
            raise NotReady(str(error)) from None
        peer.close()

    return check
