"""A KME's listeners: SAEs, other KMEs, its site's QKDE, operators."""

from __future__ import annotations

import logging

from flask import Flask

from kme.faults import FaultKnobs, Faults
from kme.web.certificates import info_routes
from kme.web.doors import doors_of
from kme.web.faults import PoolsOrEmpty, fault_routes, make_faults
from kme.web.operator import operator_app
from kme.web.peer import peer_app
from kme.web.qkde import qkde_app
from kme.web.sae import sae_app

from .kme_metrics import store_metrics
from .kme_parts import entity, needs_of
from .listeners import Listener, Server
from .process import run
from .revocation_audit import audit_revocations
from .settings import Settings

log = logging.getLogger(__name__)

THREADS = 16


def make(settings: Settings) -> Server:
    site = settings.process.removeprefix("kme-")
    kme = entity(settings, site, database_size=THREADS + 1)  # one for what a worker does beside requests

    # Made here, in the master, so that all workers share them.
    knobs = FaultKnobs(Faults(**settings.faults))
    if knobs.now.on:
        log.warning("%s makes faults on purpose at its SAE listener: %s", settings.process, knobs.now)

    def sae() -> Flask:
        info = info_routes(kme.settings.kme_id, kme.catalogue.admit)
        doors = (info, *doors_of(kme))
        pools = PoolsOrEmpty(kme.delivery, knobs)
        app = sae_app(pools, kme.admission, registered=kme.certificates.sae_of, doors=doors)
        return make_faults(app, knobs, lambda environ: environ["gunicorn.socket"])

    def ops() -> Flask:
        app = operator_app(kme)
        app.register_blueprint(fault_routes(knobs))
        return app

    authorities = {"sae": f"sae-{site}", "peer": "kme", "qkde": "qkd", "ops": "operator"}

    def listener(name: str, app, **more) -> Listener:
        authority = authorities[name]
        return Listener(name, settings.bind(name), settings.authority(authority), app, **more)

    return Server(
        settings.process,
        settings.credentials,
        [
            listener("sae", sae, begin=kme.keystore.connect),
            listener(
                "peer",
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
            listener("qkde", lambda: qkde_app(kme.settings, kme.intake)),
            listener("ops", ops),
        ],
        threads=THREADS,
        limits=settings.limits,
        workers=settings.worker_count,
        background=audit_revocations(settings, authorities.values(), kme.revocations),
        needs=needs_of(kme),
        asked=[store_metrics(kme)],
    )


if __name__ == "__main__":
    run(make)
