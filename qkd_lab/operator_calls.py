"""What an operator can ask of a running lab, over the `ops` listeners: the same for one host and for containers."""

from __future__ import annotations

from typing import Any

from mutual_tls.client import Peer, PeerError, Refused
from mutual_tls.contexts import CredentialError, Credentials
from mutual_tls.identity import Identity
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.processes import Process, services
from qkd_lab.topology import Link, Topology, load

READY_TIMEOUT_S = 15.0  # it asks others meanwhile


class Operator:
    """Calls with the operator's certificate, by `.lab/endpoints.json`. Every failure is a LabError of one line."""

    def __init__(self, lab: LabFolder) -> None:
        self.lab = lab
        self.endpoints = lab.read_endpoints()
        self.topology: Topology = load(lab.topology)
        self._processes = {process.name: process for process in services(self.topology)}
        self._peers: dict[str, Peer] = {}

    @property
    def processes(self) -> list[Process]:
        """The services that have an operator listener."""
        return [process for process in self._processes.values() if f"{process.name}.ops" in self.endpoints]

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
            if known is None or f"{process}.ops" not in self.endpoints:
                raise LabError(f"no process {process} in this lab: it has {', '.join(p.name for p in self.processes)}")
            try:
                credentials = Credentials.in_folder(self.lab.identity("operator"))
                address = self.endpoints[f"{process}.ops"].removeprefix("https://")
                self._peers[process] = Peer(address, Identity(known.role, known.id), credentials, pool_size=2)
            except (CredentialError, OSError) as error:
                raise LabError(str(error)) from None
        return self._peers[process]
