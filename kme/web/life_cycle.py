"""The life-cycle API: keys that are requested by one end, fetched by the other and consumed (docs/other-doors.md)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, request

from kme.entity import Entity
from kme.errors import BadRequest, NotEntitled
from kme.etsi014 import key_id_in
from kme.limits import check_sae_id
from kme.model import MAX_KEY_SIZE_BITS, MIN_KEY_SIZE_BITS, Connection, Key, KeyRequest
from kme.strict_json import integer, object_in, string
from kme.web.documented import Parameter, documented
from kme.web.door_schemas import (
    CLEANED_UP,
    CONSUMED,
    FETCHED_KEY,
    KEY_NAME,
    KEY_TO_CONSUME,
    KEY_WANTED,
    NEW_KEY,
    ONE_SAE,
    SERVICE_STATUS,
)
from mutual_tls.app import answer

VERSION = "1"
DEFAULT_SIZE_BITS = 256
MAX_TTL_S = 10**9
# There the two halves of a key have ids of their own.
_HALVES = ("-alice", "-bob")


def _now() -> datetime:
    return datetime.now(UTC)


def life_cycle_door(kme: Entity, now: Callable[[], datetime] = _now) -> Blueprint:
    door = Blueprint("life-cycle", __name__)

    @door.get("/api/v1/status")
    @documented("GET", "The service, in the words of the life-cycle API", gives=SERVICE_STATUS)
    def status() -> Response:
        request.get_data(cache=False)
        kme.catalogue.admit(g.caller.id)
        kme.check()
        round_count, error_rate = kme.reports.totals()
        orchestrator = {
            "total_sessions": round_count,
            "error_rate": error_rate,
            "keys_in_store": _stored_count(g.caller.id),
        }
        return answer(
            {
                "status": "OK",
                "service": f"key management entity {kme.settings.kme_id}",
                "version": VERSION,
                "qkd_orchestrator": orchestrator,
                "database": "connected",
            }
        )

    @door.post("/api/v1/keys/request")
    @documented("POST", "A new key for a recipient", body=KEY_WANTED, body_required=True, gives=NEW_KEY)
    def request_key() -> Response:
        members = object_in(request.get_data())
        _check_requester(string(members, "requester_sae"))
        recipient = check_sae_id(string(members, "recipient_sae"), "recipient_sae")
        size_bits = integer(members, "key_size", MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS, DEFAULT_SIZE_BITS)
        if "ttl" in members:
            integer(members, "ttl", 1, MAX_TTL_S)
        (key,) = kme.delivery.enc_keys(g.caller.id, recipient, KeyRequest(size_bits=size_bits))
        connection = kme.catalogue.between(g.caller.id, recipient)
        return answer(
            _key_json(key, connection)
            | {
                "expires_at": _expires_at(key.key_id),
                "message": f"{recipient} can fetch it at {connection.target_kme_id}",
                "source": "qkd_orchestrator",
            }
        )

    @door.get("/api/v1/keys/<key_id>")
    @documented(
        "GET",
        "A key that was requested for the caller, for the only time",
        path={"key_id": Parameter("key_id", KEY_NAME)},
        query=[Parameter("requester_sae", ONE_SAE, required=True)],
        gives=FETCHED_KEY,
    )
    def fetch_key(key_id: str) -> Response:
        request.get_data(cache=False)
        requesters = request.args.getlist("requester_sae")
        if len(requesters) != 1:
            raise BadRequest(f"requester_sae: expected once in the query, got it {len(requesters)} times")
        _check_requester(requesters[0])
        return answer(_key_json(*kme.held_keys.fetch(g.caller.id, _key_id(key_id))))

    @door.post("/api/v1/keys/consume")
    @documented("POST", "A key is used up", body=KEY_TO_CONSUME, body_required=True, gives=CONSUMED)
    def consume() -> Response:
        members = object_in(request.get_data())
        key_id = _key_id(string(members, "key_id"))
        _check_requester(string(members, "requester_sae"))
        kme.catalogue.admit(g.caller.id)
        kme.lifecycle.consume(g.caller.id, key_id)
        return answer({"status": "success", "key_id": str(key_id), "state": "CONSUMED"})

    @door.post("/api/v1/keys/cleanup")
    @documented("POST", "What has expired is destroyed now", gives=CLEANED_UP)
    def cleanup() -> Response:
        request.get_data(cache=False)
        kme.catalogue.admit(g.caller.id)
        return answer({"removed_count": kme.lifecycle.sweep()})

    def _expires_at(key_id: UUID) -> str | None:
        """Until when the recipient can fetch it, at least: what was wished for can't shorten or lengthen that."""
        left_s = kme.lifecycle.time_left_s(key_id)
        return None if left_s is None else (now() + timedelta(seconds=left_s)).isoformat(timespec="seconds")

    def _stored_count(caller: str) -> int:
        """The keys that the caller, as a master, could be given now; others' are none of its business."""
        return sum(kme.pool_counts([one for one in kme.catalogue.refresh() if one.master_sae_id == caller]))

    def _key_json(key: Key, connection: Connection | None) -> dict[str, Any]:
        return {
            "status": "success",
            "key_id": str(key.key_id),
            "key": base64.b64encode(key.bits).decode(),
            "size": 8 * len(key.bits),
            "algorithm": _algorithm(connection),
        }

    def _algorithm(connection: Connection | None) -> str:
        """BB84, unless the key may have come in a file: what made that is not known."""
        ends = {connection.source_kme_id, connection.target_kme_id} if connection else set()
        links = kme.settings.links
        origins = {one.origin for one in [one for one in links if one.peer_kme_id in ends] or links}
        return "BB84" if origins == {"bb84"} else "external"

    return door


def _check_requester(sae_id: str) -> None:
    if sae_id != g.caller.id:
        raise NotEntitled(f"requester_sae: expected {g.caller.id}, the SAE of the certificate")


def _key_id(text: str) -> UUID:
    for half in _HALVES:
        text = text.removesuffix(half)
    return key_id_in(text, "key_id")
