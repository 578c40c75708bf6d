"""A demo SAE's two listeners: `app`, where other demo SAEs deliver messages, and `ops`, for the person who runs it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g

from mutual_tls.app import answer, json_object, listener_app, operator_app, problem
from mutual_tls.client import Peer, Refused, Unreachable
from sae_demo.cipher import CipherError
from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import KmeRefused, KmeUnreachable
from sae_demo.exchange import Inbox, Kme, receive, send
from sae_demo.message import MAX_BODY_BYTES, BadMessage, Message, read_message, read_order

# Enough of a ciphertext for a person to see that both ends speak of the same one.
SHOWN_CHARACTERS = 64


def inbox_app(sae_id: str, kme: Kme, inbox: Inbox) -> Flask:
    """The `app` listener: `POST /v1/messages` from another SAE, which must be the one the message is from."""
    app = listener_app("app", lambda caller: caller.role == "app", max_body_bytes=MAX_BODY_BYTES)
    _map_errors(app)

    @app.post("/v1/messages")
    def message() -> Response:
        message = read_message(json_object())
        if message.sender != g.caller.id:
            return problem(401, f"from: the caller's certificate is that of {g.caller.id}")
        if message.receiver != sae_id:
            return problem(400, f"to: this is {sae_id}")
        inbox.add(receive(message, kme))
        return answer({"received": True})

    return app


def ops_app(
    sae_id: str,
    kme: Kme,
    peers: Callable[[str], Peer],
    inbox: Inbox,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Flask:
    """The `ops` listener. `peers` gives the `app` listener of another SAE and raises KeyError for an unknown one."""
    app = operator_app("ops", max_body_bytes=MAX_BODY_BYTES * 4)
    _map_errors(app)

    @app.post("/v1/messages")
    def send_message() -> Response:
        order = read_order(json_object())
        try:
            peer = peers(order.receiver)
        except KeyError:
            return problem(404, f"to: no SAE {order.receiver} is known here")
        return answer({**_shown(send(sae_id, order, kme, peer, random_bytes)), "delivered": True})

    @app.get("/v1/inbox")
    def read_inbox() -> Response:
        return answer(
            [{"from": item.message.sender, **_shown(item.message), "text": item.text} for item in inbox.items()]
        )

    return app


def _shown(message: Message) -> dict[str, Any]:
    ciphertext = base64.b64encode(message.sealed.ciphertext).decode()
    return {"key_IDs": list(message.key_ids), "mode": message.mode, "ciphertext": ciphertext[:SHOWN_CHARACTERS]}


def _map_errors(app: Flask) -> None:
    """Errors of the domain, each as one status and one sentence; whatever is not named here becomes a bare 500."""

    @app.errorhandler(BadMessage)
    def bad(error: BadMessage) -> Response:
        return problem(error.status, str(error))

    @app.errorhandler(CipherError)
    def cipher(error: CipherError) -> Response:
        return problem(400, f"the message can't be read: {error}")

    @app.errorhandler(KmeRefused)
    def kme_refused(error: KmeRefused) -> Response:
        # 503 whatever the KME said: its 400 or 401 speaks of this SAE's request, not of the caller's.
        after = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        return problem(503, str(error), *error.details, headers=after)

    @app.errorhandler(KmeUnreachable)
    def kme_unreachable(error: KmeUnreachable) -> Response:
        return problem(503, f"this SAE's KME can't be reached: {error}")

    @app.errorhandler(MalformedAnswer)
    def kme_malformed(error: MalformedAnswer) -> Response:
        return problem(502, f"this SAE's KME answered against the standard: {error}")

    @app.errorhandler(Refused)
    def peer_refused(error: Refused) -> Response:
        return problem(502, f"the message was not received: {error.message}", *error.details)

    @app.errorhandler(Unreachable)
    def peer_unreachable(error: Unreachable) -> Response:
        return problem(503, f"whether the message was received is unknown: {error}")
