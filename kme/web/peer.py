"""The listener for the KMEs at the other ends of this site's links."""

from __future__ import annotations

from flask import Flask, Response, g, request

from kme.administration import Administration
from kme.batches import BatchPeer
from kme.closure import Closure
from kme.confirmation import Confirmation
from kme.errors import BadRequest, NotHere
from kme.limits import check_sae_id
from kme.model import MAX_BLOCK_BITS, KmeSettings
from kme.peer_wire import MAX_COUNT, batch_in, octets_in, state_in, state_json, store_in, uuid_in
from kme.strict_json import integer, object_in, string
from kme.voiding import VoidingPeer
from kme.web.errors import answer_errors
from kme.witness import WitnessPeer, mark_json
from kme.witness_store import Mark
from mutual_tls.app import answer, listener_app


def peer_app(
    settings: KmeSettings,
    administration: Administration,
    confirmation: Confirmation,
    batches: BatchPeer,
    voiding: VoidingPeer,
    closure: Closure,
    witness: WitnessPeer,
) -> Flask:
    app = listener_app("kme-peer", lambda caller: caller.role == "kme" and settings.link_to(caller.id) is not None)

    @app.put("/v1/witness")
    def hear_witness() -> Response:
        members = object_in(request.get_data())
        mark = Mark(integer(members, "epoch", 1, MAX_COUNT), store_in(members), integer(members, "count", 0, MAX_COUNT))
        answered = witness.hear(g.caller.id, mark)
        return answer(mark_json(answered.own) | {"heard": mark_json(answered.heard)})

    @app.put("/v1/connections/<connection_id>")
    def connection(connection_id: str) -> Response:
        offered = state_in(request.get_data())
        held, destroyed_count = administration.learn(g.caller.id, uuid_in(connection_id, "connection_id"), offered)
        return answer(state_json(held) | {"destroyed_key_count": destroyed_count})

    @app.post("/v1/blocks/<block_id>/confirmation")
    def confirm(block_id: str) -> Response:
        members = object_in(request.get_data())
        tag = confirmation.answer(
            g.caller.id,
            uuid_in(block_id, "block_id"),
            string(members, "link"),
            integer(members, "length_bits", 1, MAX_BLOCK_BITS),
            octets_in(string(members, "tag"), "tag"),
        )
        return answer({"tag": tag.hex()})

    @app.post("/v1/batches")
    def batch() -> Response:
        batches.commit(g.caller.id, batch_in(request.get_data()))
        return answer({"state": "committed"})

    @app.post("/v1/batches/<batch_id>/void")
    def void(batch_id: str) -> Response:
        batch = batch_in(request.get_data())
        if batch.batch_id != uuid_in(batch_id, "batch_id"):
            raise BadRequest(f"batch_id: expected {batch_id}")
        voiding.void(g.caller.id, batch)
        return answer({"state": "voided"})

    @app.get("/v1/saes")
    def sae() -> Response:
        sae_id = check_sae_id(request.args.get("sae_id", ""), "sae_id")
        if not administration.has_sae(sae_id):
            raise NotHere(f"SAE {sae_id} is not registered at {settings.kme_id}")
        return answer({"sae_id": sae_id, "kme_id": settings.kme_id})

    @app.post("/v1/blocks/<block_id>/closure")
    def close(block_id: str) -> Response:
        closure.answer(g.caller.id, uuid_in(block_id, "block_id"))
        return answer({"state": "closed"})

    return answer_errors(app)
