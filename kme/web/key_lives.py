"""What an operator may know of a key: its states and their times, and whose it is. Never its bits."""

from __future__ import annotations

from flask import Blueprint, Response

from kme.lifecycle import Lifecycle, life_json
from kme.peer_wire import uuid_in
from mutual_tls.app import answer


def key_life_calls(lifecycle: Lifecycle, kme_id: str) -> Blueprint:
    calls = Blueprint("key_lives", __name__)

    @calls.get("/v1/keys/<key_id>")
    def life(key_id: str) -> Response:
        return answer(life_json(lifecycle.life(uuid_in(key_id, "key_id")), kme_id))

    return calls
