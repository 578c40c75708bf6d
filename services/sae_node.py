"""A demo SAE: it takes keys from its site's KME and exchanges messages with other demo SAEs."""

from __future__ import annotations

from functools import cache

from mutual_tls import request_id
from mutual_tls.client import Peer
from mutual_tls.identity import Identity
from sae_demo.app import inbox_app, ops_app
from sae_demo.etsi_client import Etsi014Client
from sae_demo.exchange import Inbox

from .listeners import Listener, Server
from .process import run
from .settings import Settings


def make(settings: Settings) -> Server:
    sae_id = settings.process
    kme_id = settings.topology.site_of_sae(sae_id).kme_id
    # For its KME it is an SAE of its site; for other demo SAEs it has a certificate from another authority.
    as_sae, as_app = settings.credentials, settings.credentials_of(f"{sae_id}-app")
    kme = Etsi014Client(
        f"https://{settings.address(kme_id, 'sae')}",
        as_sae.certificate,
        as_sae.key,
        as_sae.authorities,
        kme_id=kme_id,
        headers=request_id.headers,
    )
    own_kme = Peer(settings.address(kme_id, "sae"), Identity("kme", kme_id), as_sae, pool_size=1)

    @cache
    def peer(other: str) -> Peer:
        if other not in settings.addresses or "app" not in settings.addresses[other]:
            raise KeyError(other)
        return Peer(settings.address(other, "app"), Identity("app", other), as_app)

    inbox = Inbox()
    trust = as_app.certificate.parent / "trust"
    return Server(
        sae_id,
        as_app,
        [
            Listener("app", settings.bind("app"), trust / "app.pem", lambda: inbox_app(sae_id, kme, inbox)),
            Listener("ops", settings.bind("ops"), trust / "operator.pem", lambda: ops_app(sae_id, kme, peer, inbox)),
        ],
        threads=8,
        needs={f"KME {kme_id}": lambda: own_kme.check("/api/v1/sae/info/me")},
        limits=settings.limits,
    )


if __name__ == "__main__":
    run(make)
