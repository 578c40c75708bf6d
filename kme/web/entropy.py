"""`GET /api/v1/keys/entropy/total`: of all bytes that were taken in (docs/other-doors.md says what it can't show)."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from kme.entity import Entity
from kme.web.documented import documented
from kme.web.door_schemas import ENTROPY
from mutual_tls.app import answer


def entropy_door(kme: Entity) -> Blueprint:
    door = Blueprint("entropy", __name__)

    @door.get("/api/v1/keys/entropy/total")
    @documented("GET", "Shannon entropy, in bits per byte, of all that was taken in", gives=ENTROPY)
    def total_entropy() -> Response:
        request.get_data(cache=False)
        kme.catalogue.admit(g.caller.id)
        return answer({"total_entropy": kme.byte_counts.entropy()})

    return door
