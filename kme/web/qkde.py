"""The listener for the site's own QKDE: it hands over finished blocks."""

from __future__ import annotations

from flask import Flask, Response, request

from kme.intake import Intake
from kme.model import MAX_BLOCK_BITS, KmeSettings
from kme.peer_wire import uuid_in
from kme.strict_json import integer_in_query, string
from kme.web.errors import answer_errors
from mutual_tls.app import listener_app


def qkde_app(settings: KmeSettings, intake: Intake) -> Flask:
    app = listener_app(
        "kme-qkde",
        lambda caller: caller.role == "qkde" and caller.id == settings.qkde_id,
        max_body_bytes=MAX_BLOCK_BITS // 8,
    )

    @app.put("/v1/blocks/<block_id>")
    def take(block_id: str) -> Response:
        query = request.args.to_dict()
        intake.take(
            uuid_in(block_id, "block_id"),
            string(query, "link"),
            string(query, "owner"),
            integer_in_query(request.args.getlist("length_bits"), "length_bits"),
            request.get_data(cache=False),
        )
        return Response(status=204)

    return answer_errors(app)
