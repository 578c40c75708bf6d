"""A QKD Entity: Alice or Bob at each of its site's links."""

from __future__ import annotations

from dataclasses import asdict

from qkde.bb84.parameters import RoundParameters

from mutual_tls.identity import Identity
from qkd_lab.topology import Link
from qkde.node.ends import AliceEnd, BobEnd, LinkEnd
from qkde.node.entity import QkdEntity
from qkde.node.handover import Handover
from qkde.node.spool import Spool
from qkde.node.web import classical_app, kme_app, ops_app

from .listeners import Listener, Server
from .process import run
from .settings import Settings, SettingsError


def make(settings: Settings) -> Server:
    site = settings.process.removeprefix("qkde-")
    links = settings.topology.links_of(site)
    if not links:
        raise SettingsError(f"the topology has no link with site {site!r}")
    kme = Identity("kme", f"kme-{site}")
    spool = Spool(settings.state / "spool", bytes.fromhex(settings.secret("spool-key")))
    spool.discard_unfinished()
    handover = Handover(spool, settings.peer(kme.id, "qkde", kme))
    entity = QkdEntity(settings.process, {link.name: _end(settings, site, link, spool, handover) for link in links})
    return Server(
        settings.process,
        settings.credentials,
        [
            Listener("kme", settings.bind("kme"), settings.authority("kme"), lambda: kme_app(entity, kme)),
            Listener("classical", settings.bind("classical"), settings.authority("qkd"), lambda: classical_app(entity)),
            Listener("ops", settings.bind("ops"), settings.authority("operator"), lambda: ops_app(entity)),
        ],
        threads=12,
        background=handover.run,
    )


def _end(settings: Settings, site: str, link: Link, spool: Spool, handover: Handover) -> AliceEnd | BobEnd:
    other = link.bob if site == link.alice else link.alice
    other_qkde, quantum = Identity("qkde", f"qkde-{other}"), Identity("qlink", f"qlink-{link.name}")
    end = LinkEnd(
        link=link.name,
        owners=(f"kme-{site}", f"kme-{other}"),
        other_qkde=settings.peer(other_qkde.id, "classical", other_qkde, timeout_s=30),
        quantum=settings.peer(quantum.id, "qkd", quantum, timeout_s=30),
        parameters=RoundParameters(**asdict(link.protocol)),
    )
    role = AliceEnd if site == link.alice else BobEnd
    return role(end, spool, handover)


if __name__ == "__main__":
    run(make)
