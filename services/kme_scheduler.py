"""A KME's scheduler: it looks through the registered connections, orders key at the QKDE and fills pools."""

from __future__ import annotations

from kme.web.operator import health_app
from mutual_tls.identity import Identity

from .kme_metrics import CountedQkde, scheduler_metrics
from .kme_parts import connections_of, entity, needs_of
from .listeners import Listener, Server
from .process import run
from .settings import Settings


def make(settings: Settings) -> Server:
    site = settings.process.removeprefix("kme-").removesuffix("-scheduler")
    kme = entity(settings, site, database_size=8)
    qkde_id = kme.settings.qkde_id
    has_qkde = any(link.folder is None for link in kme.settings.links)
    qkde = settings.peer(qkde_id, "kme", Identity("qkde", qkde_id)) if has_qkde else None
    scheduler = kme.scheduler(
        CountedQkde(qkde) if qkde else None,
        saes=settings.topology.site(site).saes,
        connections=connections_of(settings.topology, kme.settings.kme_id),
    )
    return Server(
        settings.process,
        settings.credentials,
        [
            Listener(
                "ops",
                settings.bind("ops"),
                settings.authority("operator"),
                lambda: health_app(settings.process, scheduler.check, scheduler.duty),
            )
        ],
        threads=4,
        limits=settings.limits,
        background=scheduler.run,
        needs=needs_of(kme, qkde),
        asked=[scheduler_metrics(kme, scheduler)],
    )


if __name__ == "__main__":
    run(make)
