"""A quantum link: nature between two QKDEs. It alone runs Aer; it keeps nothing on disk and dumps no core."""

from __future__ import annotations

import resource
from dataclasses import asdict

from mutual_tls.identity import Identity
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import ops_app, qkd_app

from .listeners import Listener, Server
from .process import run
from .qlink_metrics import link_metrics
from .settings import Settings


def make(settings: Settings) -> Server:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    described = settings.topology.link(settings.process.removeprefix("qlink-"))
    link = QuantumLink(described.name, LinkPhysics().changed(**asdict(described.physics)))
    alice, bob = (Identity("qkde", f"qkde-{site}") for site in (described.alice, described.bob))
    return Server(
        settings.process,
        settings.credentials,
        [
            Listener("qkd", settings.bind("qkd"), settings.authority("qkd"), lambda: qkd_app(link, alice, bob)),
            Listener("ops", settings.bind("ops"), settings.authority("operator"), lambda: ops_app(link)),
        ],
        threads=8,
        limits=settings.limits,
        background=link.keep_expiring,
        asked=[link_metrics(link)],
    )


if __name__ == "__main__":
    run(make)
