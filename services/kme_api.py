"""A KME's listeners: SAEs, other KMEs, its site's QKDE, operators."""

from __future__ import annotations

from kme.web.operator import operator_app
from kme.web.peer import peer_app
from kme.web.qkde import qkde_app
from kme.web.sae import sae_app

from .kme_parts import entity
from .listeners import Listener, Server
from .process import run
from .settings import Settings

THREADS = 16


def make(settings: Settings) -> Server:
    site = settings.process.removeprefix("kme-")
    kme = entity(settings, site, database_size=THREADS)

    def listener(name: str, authority: str, app) -> Listener:
        return Listener(name, settings.bind(name), settings.authority(authority), app)

    return Server(
        settings.process,
        settings.credentials,
        [
            listener("sae", f"sae-{site}", lambda: sae_app(kme.delivery, kme.admission)),
            listener(
                "peer",
                "kme",
                lambda: peer_app(
                    kme.settings,
                    kme.administration,
                    kme.confirmation,
                    kme.batch_peer,
                    kme.voiding_peer,
                    kme.closure,
                    kme.witness_peer,
                ),
            ),
            listener("qkde", "qkd", lambda: qkde_app(kme.settings, kme.intake)),
            listener("ops", "operator", lambda: operator_app(kme)),
        ],
        threads=THREADS,
        workers=settings.worker_count,
    )


if __name__ == "__main__":
    run(make)
