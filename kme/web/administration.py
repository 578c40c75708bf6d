"""The operator's calls on SAEs and connections that are registered."""

from __future__ import annotations

from flask import Blueprint, Response, request

from kme.administration import Outcome
from kme.administration_wire import (
    admin_connection_json,
    connection_change,
    outcome_json,
    sae_change,
    sae_json,
)
from kme.entity import Entity
from kme.peer_wire import uuid_in
from mutual_tls.app import answer


def administration_calls(kme: Entity) -> Blueprint:
    calls = Blueprint("administration", __name__)
    administration, settings = kme.administration, kme.settings

    # An SAE id may have a `/` in it, which a server does not tell from a separator in the path.
    @calls.get("/v1/saes/<path:sae_id>")
    def sae(sae_id: str) -> Response:
        found = administration.sae(sae_id)
        own = [one for one in kme.catalogue.refresh() if sae_id in (one.master_sae_id, one.slave_sae_id)]
        connections = [*map(admin_connection_json, own, kme.pool_counts(own))]
        return answer(sae_json(found, settings) | {"connections": connections})

    @calls.patch("/v1/saes/<path:sae_id>")
    def change_sae(sae_id: str) -> Response:
        return answer(sae_json(administration.change_sae(sae_id, sae_change(request.get_data())), settings))

    @calls.delete("/v1/saes/<path:sae_id>")
    def remove_sae(sae_id: str) -> Response:
        outcomes = administration.remove_sae(sae_id)
        complete = all(one.is_complete for one in outcomes)
        body = {
            "sae_id": sae_id,
            "removed": True,
            "complete": complete,
            "destroyed_key_count": sum(one.destroyed_key_count or 0 for one in outcomes),
            "connections": [outcome_json(one, 0) for one in outcomes],
        }
        return answer(body, 200 if complete else 202)

    @calls.get("/v1/connections")
    def connections() -> Response:
        found = kme.catalogue.refresh()
        return answer([*map(admin_connection_json, found, kme.pool_counts(found))])

    @calls.get("/v1/connections/<connection_id>")
    def connection(connection_id: str) -> Response:
        found = administration.connection(uuid_in(connection_id, "connection_id"))
        return answer(admin_connection_json(found, kme.pool_count(found)))

    @calls.patch("/v1/connections/<connection_id>")
    def change_connection(connection_id: str) -> Response:
        change = connection_change(request.get_data())
        return _come_through(administration.change_connection(uuid_in(connection_id, "connection_id"), change))

    @calls.delete("/v1/connections/<connection_id>")
    def remove_connection(connection_id: str) -> Response:
        return _come_through(administration.remove_connection(uuid_in(connection_id, "connection_id")))

    def _come_through(outcome: Outcome) -> Response:
        # 202: it is recorded, and comes through as soon as the store or the other KME is back.
        count = 0 if outcome.connection.removed else kme.pool_count(outcome.connection)
        return answer(outcome_json(outcome, count), 200 if outcome.is_complete else 202)

    return calls
