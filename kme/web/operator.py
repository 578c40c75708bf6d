"""The operator's listener: registration, status, and the health check. It never shows a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Flask, Response, request

from kme.administration_wire import sae_json
from kme.entity import Entity
from kme.errors import BadRequest, KmeError
from kme.etsi014 import connection_in, connection_json
from kme.limits import check_sae_id
from kme.strict_json import object_in, string
from kme.web.administration import administration_calls
from kme.web.audit import audit_calls, end_json
from kme.web.certificates import certificate_routes
from kme.web.errors import answer_errors
from kme.web.kek import kek_calls, kek_json
from kme.web.key_lives import key_life_calls
from mutual_tls.app import answer
from mutual_tls.app import operator_app as ops_listener

MAX_EVENTS = 500


def health_app(name: str, check: Callable[[], None], also: Callable[[], dict[str, str]] = dict) -> Flask:
    """An operator listener with nothing but `/healthz`; `check` raises KmeError, in words, where something is wrong;
    `also` is said beside that all is well."""

    def fault() -> str | None:
        try:
            check()
        except KmeError as error:
            return error.message
        return None

    return answer_errors(ops_listener(name, fault, also))


def operator_app(kme: Entity) -> Flask:
    app = health_app("kme-ops", kme.check, kme.durability)
    settings, registration = kme.settings, kme.registration

    @app.before_request
    def check_path() -> None:
        # Of all views at once: Postgres can't even be asked for an id with a NUL in it.
        if sae_id := (request.view_args or {}).get("sae_id"):
            check_sae_id(sae_id, "the SAE id in the path")

    app.register_blueprint(certificate_routes(kme.certificates))

    @app.post("/register_connection")
    def register_connection() -> Response:
        connection = connection_in(request.get_data())
        is_new = registration.connect(connection)
        return answer(connection_json(connection, kme.pool_count(connection)), 201 if is_new else 200)

    @app.post("/v1/saes")
    def register_sae() -> Response:
        sae_id = string(object_in(request.get_data()), "sae_id")
        is_new = registration.add_sae(sae_id)
        return answer({"sae_id": sae_id, "kme_id": settings.kme_id}, 201 if is_new else 200)

    @app.get("/v1/saes")
    def saes() -> Response:
        return answer([sae_json(sae, settings) for sae in kme.records.saes()])

    app.register_blueprint(administration_calls(kme))
    app.register_blueprint(key_life_calls(kme.lifecycle, settings.kme_id))
    app.register_blueprint(audit_calls(kme.audit))
    app.register_blueprint(kek_calls(kme))

    @app.get("/v1/reports")
    def reports() -> Response:
        return answer(kme.reports.of_block(_block_id(request.args.get("block_id", ""))))

    @app.get("/v1/events")
    def events() -> Response:
        after = _number("after", None, 0, 2**62)
        return answer(kme.events.events(after, _number("count", 100, 1, MAX_EVENTS)))

    @app.get("/v1/status")
    def status() -> Response:
        links = [{"link": one.name, "peer": one.peer_kme_id} | kme.link_status(one.name) for one in settings.links]
        return answer(
            {
                "kme_id": settings.kme_id,
                "site": settings.site,
                "saes": [sae.sae_id for sae in kme.records.saes()],
                "pools": pools_of(kme),
                "links": links,
                "account": kme.account().as_json(),
                "witness": _witness(kme),
                "kek": kek_json(kme),
                "audit": end_json(kme.audit.end()),
            }
        )

    return app


def _number(name: str, otherwise: int | None, least: int, most: int) -> int | None:
    text = request.args.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise BadRequest(f"{name} in the query: expected a number from {least} to {most}")
    return int(text)


def _block_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest("block_id in the query: expected a UUID") from None


def _witness(kme: Entity) -> dict[str, Any]:
    """In words: whether what is stored here may be used, and since why it counts anew."""
    known = kme.witness_store.read()
    if known.own is None or not known.is_checked:
        state = "waiting: the two stores of this site were not compared yet since they started"
    elif known.has_stale:
        state = "in quarantine: what belongs to an epoch that is over is being destroyed"
    else:
        state = "well"
    peers = {
        link.peer_kme_id: "confirmed" if link.peer_kme_id in known.confirmed else "waiting for its confirmation"
        for link in kme.settings.links
    }
    epoch = known.own.epoch if known.own else None
    return {"epoch": epoch, "began_because": known.reason, "state": state, "peers": peers}


def pools_of(kme: Entity) -> list[dict[str, Any]]:
    """The pools this KME fills: those of connections whose master is here."""
    own = [one for one in kme.catalogue.refresh() if one.source_kme_id == kme.settings.kme_id]
    return [
        {
            "connection_id": str(one.connection_id),
            "master_sae_id": one.master_sae_id,
            "slave_sae_id": one.slave_sae_id,
            "key_size_bits": one.key_size_bits,
            "stored_key_count": count,
            "low_watermark": int(kme.settings.low_watermark * one.max_key_count),
            "high_watermark": one.max_key_count,
        }
        for one, count in zip(own, kme.pool_counts(own), strict=True)
    ]
