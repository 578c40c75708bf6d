"""Who holds a certificate in a network: services, SAEs as clients of their KME, the operator and who looks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from mutual_tls.identity import Identity
from qkd_lab.addresses import listener_host
from qkd_lab.pki.authority import PkiError
from qkd_lab.pki.contents import (
    COMMON_NAME_LENGTH,
    LEAF_LIFE,
    Contents,
    by_common_name,
    by_serial_number,
    by_urn,
)
from qkd_lab.pki.keys import DEFAULT
from qkd_lab.processes import APP, KME, OPERATOR, QKD, sae_authority, services
from qkd_lab.topology import Topology

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


@dataclass(frozen=True)
class Holder:
    """One folder of `.lab/pki`.

    authority: who signs; calls: authorities of the servers it calls (ca.pem); callers: authorities of those who call
    its listeners (trust/); hosts: names and addresses it serves at, none for a pure client; named_by: `urn` in the SAN,
    or for an SAE `cn` (the subject's common name) or `serial` (what is registered for its issuer and serial number).
    """

    name: str
    identity: Identity
    authority: str
    calls: tuple[str, ...]
    callers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    named_by: str = "urn"
    key_type: str = DEFAULT
    life: timedelta = LEAF_LIFE
    serial_number: int | None = None

    @property
    def contents(self) -> Contents:
        if self.named_by == "cn":
            return by_common_name(self.identity.id, self.life)
        if self.named_by == "serial":
            return by_serial_number(self.name, self.life)
        return by_urn(self.identity, self.hosts, self.life)

    def folder(self, pki: Path) -> Path:
        """Ids may have `/`, blanks and UTF-8: as a file name they are percent-encoded."""
        return pki / quote(self.name, safe="")


def holders(topology: Topology, more_hosts: Iterable[str] = ()) -> list[Holder]:
    """Everyone in the topology who holds a certificate. `more_hosts`: at which every listener is reached, too."""
    found = []
    for process in services(topology):
        names = (process.name, *(listener_host(process, listener) for listener in process.listeners))
        hosts = (*LOOPBACK, *(name for name in names if HOST_NAME.fullmatch(name)), *more_hosts)
        identity = Identity(process.role, process.id)
        callers = tuple(process.listeners.values())
        found.append(Holder(process.certificate, identity, process.authority, process.calls, callers, hosts))
    found += [sae_client(sae, site.name) for site in topology.sites for sae in site.saes]
    everyone = (KME, QKD, APP)
    found.append(Holder("operator", Identity("operator", "operator"), OPERATOR, everyone))
    found.append(Holder("probe", Identity("probe", "probe"), OPERATOR, everyone))
    found.append(Holder("prometheus", Identity("monitor", "prometheus"), OPERATOR, everyone))
    return found


def sae_client(sae_id: str, site: str, named_by: str = "urn", life: timedelta = LEAF_LIFE) -> Holder:
    """An SAE's certificate as an ETSI 014 client: its site's authority signs, its KME's is what it verifies."""
    # A file name has at most 255 bytes.
    if not sae_id or not sae_id.isprintable() or len(quote(sae_id, safe="")) > 240:
        raise PkiError(f"the SAE id {sae_id!r} can't be used: expected 1 to 240 printable characters, percent-encoded")
    if sae_id in (".", "..", "authorities", "operator", "probe", "prometheus"):
        raise PkiError(
            f"the SAE id {sae_id!r} can't be used: the name of its certificate folder is taken; choose another"
        )
    if named_by == "cn" and len(sae_id) > COMMON_NAME_LENGTH:
        raise PkiError(
            f"the SAE id {sae_id!r} can't be a common name: expected at most {COMMON_NAME_LENGTH} characters (X.520); "
            "leave out --cn-only"
        )
    identity, authority = Identity("sae", sae_id), sae_authority(site)
    return Holder(sae_id, identity, authority, (KME,), named_by=named_by, life=life)


def operator_client(name: str, life: timedelta = LEAF_LIFE) -> Holder:
    """A person who may do all that the operators' listeners offer."""
    sae_client(name, "")  # the same rules for a name
    return Holder(name, Identity("operator", name), OPERATOR, (KME, QKD, APP), life=life)
