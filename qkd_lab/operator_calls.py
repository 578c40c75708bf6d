"""What an operator can ask of a running lab, over the `ops` listeners: the same for one host and for containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mutual_tls.client import Peer, PeerError, Refused
from mutual_tls.contexts import CredentialError, Credentials
from mutual_tls.identity import Identity
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.processes import Process, services
from qkd_lab.topology import Link, Topology, load

READY_TIMEOUT_S = 15.0  # it asks others meanwhile


class OperatorCalls:
    """Calls to a network's operator listeners. Every failure is a LabError of one line.

    `connect` gives the operator listener of one of the network's processes, and None where it has none that is known.
    """

    def __init__(self, topology: Topology, connect: Callable[[Process], Peer | None]) -> None:
        self.topology = topology
        self._connect = connect
        self._processes = {process.name: process for process in services(topology)}
        self._peers: dict[str, Peer] = {}

    @property
    def processes(self) -> list[Process]:
        """The services that have an operator listener."""
        return list(self._processes.values())

    def link(self, name: str) -> Link:
        """A link of the lab by its name."""
        links = {link.name: link for link in self.topology.links}
        if name not in links:
            raise LabError(f"no link {name!r} in this lab: it has {', '.join(links) or 'none'}")
        return links[name]

    def quantum_link(self, name: str) -> Link:
        """One with a quantum link and two QKDEs."""
        link = self.link(name)
        if not link.is_quantum:
            raise LabError(f"link {name} is fed with key files: it has no physics and no pre-shared key")
        return link

    def call(
        self,
        process: str,
        method: str,
        path: str,
        json: Any = None,
        timeout_s: float = 10.0,
        octets: bytes | None = None,
    ) -> Any:
        """The JSON answer of one call."""
        try:
            return self.peer(process).request(method, path, json=json, octets=octets, timeout_s=timeout_s).json
        except Refused as refusal:
            raise LabError(refusal.message) from None
        except PeerError as error:
            raise LabError(f"{error}; `qkd-lab status` shows what runs") from None

    def health(self, process: str) -> str:
        """`ok`, or what is wrong with it."""
        try:
            self.peer(process).request("GET", "/healthz", timeout_s=3.0)
        except (PeerError, LabError) as error:
            return str(error)
        return "ok"

    def readiness(self, process: str) -> dict[str, Any]:
        """What `/readyz` says: `ready`, `why`, `needs`, `time`, `version`, `started_at`; of a process that does not
        answer the first two alone."""
        try:
            return self.peer(process).request("GET", "/readyz", timeout_s=READY_TIMEOUT_S).json
        except Refused as refusal:
            return {"ready": False, "why": [refusal.message]} | refusal.body
        except (PeerError, LabError) as error:
            return {"ready": False, "why": [str(error)]}

    def peer(self, process: str) -> Peer:
        if process not in self._peers:
            known = self._processes.get(process)
            try:
                peer = self._connect(known) if known else None
            except (CredentialError, OSError) as error:
                raise LabError(str(error)) from None
            if peer is None:
                raise LabError(f"no process {process} in this lab: it has {', '.join(p.name for p in self.processes)}")
            self._peers[process] = peer
        return self._peers[process]


class Operator(OperatorCalls):
    """Calls with the operator's certificate, by `.lab/endpoints.json`."""

    def __init__(self, lab: LabFolder) -> None:
        self.lab = lab
        self.endpoints = lab.read_endpoints()
        super().__init__(load(lab.topology), self._at_endpoint)

    @property
    def processes(self) -> list[Process]:
        return [process for process in super().processes if f"{process.name}.ops" in self.endpoints]

    def _at_endpoint(self, process: Process) -> Peer | None:
        address = self.endpoints.get(f"{process.name}.ops")
        if address is None:
            return None
        credentials = Credentials.in_folder(self.lab.identity("operator"))
        identity = Identity(process.role, process.id)
        return Peer(address.removeprefix("https://"), identity, credentials, pool_size=2)
