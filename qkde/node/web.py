"""The HTTP edge of a QKDE: for its site's KME, for the QKDE at a link's other end, and for operators."""

from __future__ import annotations

from uuid import UUID

from flask import Flask, Response, abort, g, request

from mutual_tls.app import answer, json_object, listener_app, operator_app, problem
from mutual_tls.client import PeerError, Refused
from mutual_tls.identity import Identity
from qkde.bb84.errors import DeviceUnavailable, MalformedMessage
from qkde.node.ends import Busy, UnexpectedRound
from qkde.node.entity import QkdEntity, UnknownLink

OCTETS = "application/octet-stream"
MAX_MESSAGE_BYTES = 16 << 20


def kme_app(entity: QkdEntity, kme: Identity) -> Flask:
    """The `kme` listener: this site's KME orders blocks, and owns what it orders."""
    app = listener_app(f"{entity.name}-kme", lambda caller: caller == kme)
    _map_errors(app)

    @app.post("/v1/orders")
    def order() -> Response:
        body = json_object()
        link = body.get("link")
        if not isinstance(link, str):
            return problem(400, "link: expected the name of a link")
        return _report(entity.order(link, _block_id(body), g.caller.id))

    return app


def classical_app(entity: QkdEntity) -> Flask:
    """The `classical` listener: the QKDE at the other end of a link, and nobody else for that link."""
    app = listener_app(
        f"{entity.name}-classical", lambda caller: caller.role == "qkde", max_body_bytes=MAX_MESSAGE_BYTES
    )
    _map_errors(app)

    def only_the_other_end(link: str) -> None:
        if g.caller != entity.other_qkde(link):
            abort(problem(401, f"{g.caller} is not the other end of link {link}"))

    @app.post("/v1/links/<link>/messages")
    def message(link: str) -> Response:
        only_the_other_end(link)
        return Response(entity.alice(link).answer(request.get_data(cache=False)), content_type=OCTETS)

    @app.post("/v1/links/<link>/orders")
    def order(link: str) -> Response:
        only_the_other_end(link)
        body = json_object()
        # Alice's QKDE orders in its own KME's name only; Bob's own KME asks him itself.
        return _report(entity.order_from_alice(link, _block_id(body), body.get("owner")))

    return app


def ops_app(entity: QkdEntity) -> Flask:
    app = operator_app(f"{entity.name}-ops")

    @app.get("/v1/reports")
    def reports() -> Response:
        """The reports of the newest rounds, oldest first; of one link, or fewer, where that is asked for."""
        link, count = request.args.get("link"), request.args.get("count", "50")
        if not (count.isascii() and count.isdecimal() and 1 <= int(count[:9]) <= 50):
            return problem(400, "count in the query: expected a number from 1 to 50")
        known = [report for report in entity.reports if link in (None, report["link"])]
        return answer(known[-int(count) :])

    @app.put("/v1/links/<link>/pre-shared-key")
    def rekey(link: str) -> Response:
        """Both ends of the link must get the same; between the two calls its rounds are refused."""
        try:
            offer = entity.rekey(link, request.get_data(cache=False))
        except ValueError as error:
            return problem(400, str(error))
        return answer({"key_id": offer.key_id, "pads_left": offer.end - offer.first})

    _map_errors(app)
    return app


def _report(report: dict | None) -> Response:
    return answer({"running": True}, 202) if report is None else answer(report)


def _block_id(body: dict) -> str:
    try:
        return str(UUID(body["block_id"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        abort(problem(400, "block_id: expected a UUID"))


def _map_errors(app: Flask) -> None:
    @app.errorhandler(UnknownLink)
    def unknown(error: UnknownLink) -> Response:
        return problem(404, str(error))

    @app.errorhandler(MalformedMessage)
    def malformed(error: MalformedMessage) -> Response:
        return problem(400, str(error))

    @app.errorhandler(UnexpectedRound)
    def unexpected(error: UnexpectedRound) -> Response:
        return problem(409, str(error))

    @app.errorhandler(Busy)
    @app.errorhandler(PeerError)
    @app.errorhandler(DeviceUnavailable)
    def unavailable(error: Exception) -> Response:
        return problem(503, error.message if isinstance(error, Refused) else str(error))
