"""The APIs beside ETSI GS QKD 014: thin blueprints over the same use cases, each on or off by setting."""

from __future__ import annotations

from flask import Blueprint

from kme.entity import Entity
from kme.web.entropy import entropy_door
from kme.web.life_cycle import life_cycle_door
from kme.web.quick import quick_door

DOORS = {"quick": quick_door, "life-cycle": life_cycle_door, "entropy": entropy_door}


def doors_of(kme: Entity) -> list[Blueprint]:
    """Those that its settings open. A path of another is answered 404."""
    return [make(kme) for name, make in DOORS.items() if name in kme.settings.doors]
