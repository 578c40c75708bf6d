"""Every process of a network: its name, its listeners and who may call them, who it is and whom it calls.

This is the table "Identities and listeners" of docs/protocols.md as data; addresses, certificates and the supervisor
follow from it. Nothing heavier than the standard library is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qkd_lab.topology import Topology

KME, QKD, OPERATOR, APP = "kme", "qkd", "operator", "app"


def sae_authority(site: str) -> str:
    """The authority of a site's SAEs: a KME admits the SAEs of its own site only."""
    return f"sae-{site}"


@dataclass(frozen=True)
class Process:
    """One process. `index` counts the processes of its kind; preferred ports follow from it.

    module: entry module in the services package; "" for a database server.
    listeners: name of each listener and the one authority whose certificates its callers must show.
    certificate: folder name in `.lab/pki` of what it shows on its listeners; role and id are in it.
    authority: who signs that certificate; calls: the authorities of the servers it calls.
    """

    name: str
    kind: str
    index: int
    site: str = ""
    module: str = ""
    listeners: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""
    role: str = ""
    id: str = ""
    authority: str = ""
    calls: tuple[str, ...] = ()


def processes(topology: Topology) -> tuple[Process, ...]:
    """All processes, the databases first."""
    return (*stores(topology), *services(topology))


def stores(topology: Topology) -> Iterator[Process]:
    """A site's own PostgreSQL and its own Redis: with a shared store two SAEs would agree even if QKD were broken."""
    for kind, listener in (("postgres", "sql"), ("redis", "redis")):
        for index, site in enumerate(topology.sites):
            yield Process(f"{kind}-{site.name}", kind, index, site.name, listeners={listener: ""})


def services(topology: Topology) -> Iterator[Process]:
    """The processes that are the lab's own programs."""
    for index, link in enumerate(topology.quantum_links):
        name = link.qlink_id
        yield Process(
            name, "qlink", index, "", "qlink_node", {"qkd": QKD, "ops": OPERATOR}, name, "qlink", name, QKD, (QKD,)
        )
    for index, site in enumerate(topology.sites):
        if not topology.quantum_links_of(site.name):
            continue  # its keys come from folders
        yield Process(
            site.qkde_id, "qkde", index, site.name, "qkde_node",
            {"kme": KME, "classical": QKD, "ops": OPERATOR},
            site.qkde_id, "qkde", site.qkde_id, QKD, (QKD, KME),
        )  # fmt: skip
    for index, site in enumerate(topology.sites):
        yield Process(
            site.kme_id, "kme", index, site.name, "kme_api",
            {"sae": sae_authority(site.name), "peer": KME, "qkde": QKD, "ops": OPERATOR},
            site.kme_id, "kme", site.kme_id, KME, (KME, QKD),
        )  # fmt: skip
        name = f"{site.kme_id}-scheduler"
        yield Process(
            name, "scheduler", index, site.name, "kme_scheduler", {"ops": OPERATOR},
            name, "kme", site.kme_id, KME, (KME, QKD),
        )  # fmt: skip
    saes = [(site, sae) for site in topology.sites for sae in site.saes if topology.demo_saes]
    for index, (site, sae) in enumerate(saes):
        yield Process(
            sae, "sae", index, site.name, "sae_node", {"app": APP, "ops": OPERATOR},
            f"{sae}-app", "app", sae, APP, (APP,),
        )  # fmt: skip
