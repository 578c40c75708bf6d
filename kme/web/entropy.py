"""`GET /api/v1/keys/entropy/total`: of all bytes that were taken in (docs/other-doors.md says what it can't show)."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from kme.entity import Entity
from mutual_tls.app import answer


def entropy_door(kme: Entity) -> Blueprint:
    door = Blueprint("entropy", __name__)

    @door.get("/api/v1/keys/entropy/total")
    def total_entropy() -> Response:
        request.get_data(cache=False)
        kme.catalogue.admit(g.caller.id)
        return answer({"total_entropy": kme.byte_counts.entropy()})

    return door
