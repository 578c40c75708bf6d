"""How an operator spells SAEs, connections and what to change in them (docs/protocols.md).

Unlike in a key request, a member that is not known is refused: who misspells a setting must not believe it is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from kme.administration import Outcome
from kme.errors import BadRequest
from kme.etsi014 import QOS_MEMBERS, connection_json
from kme.model import Connection, KmeSettings, Sae, SaeLimits
from kme.strict_json import an_object, boolean, integer, raw_object_in

_MOST = 2**40
_CONNECTION_COUNTS = {
    "max_keys_count": "max_key_count",
    "max_key_per_request": "max_key_per_request",
    "max_SAE_ID_count": "max_sae_id_count",
}
# Five calls that fail in a row must get through where one that succeeds does (kme/admission.py).
LEAST_BURST = 2


def sae_json(sae: Sae, settings: KmeSettings) -> dict[str, Any]:
    """A limit that is null is the KME's default, which is in `effective_limits`."""
    return {
        "sae_id": sae.sae_id,
        "kme_id": settings.kme_id,
        "suspended": sae.suspended,
        "limits": asdict(sae.limits),
        "effective_limits": asdict(sae.limits.over(settings.default_limits)),
    }


def sae_change(body: bytes) -> Callable[[Sae], Sae]:
    """What a PATCH of an SAE asks for: `suspended` and limits; null takes a limit back to the default."""
    limits = list(asdict(SaeLimits()))
    members = _known_only(raw_object_in(body), ["suspended", *limits])
    suspended = boolean(members, "suspended") if "suspended" in members else None
    wanted = {
        name: None if members[name] is None else integer(members, name, _least(name), _MOST)
        for name in limits
        if name in members
    }

    def change(sae: Sae) -> Sae:
        is_suspended = sae.suspended if suspended is None else suspended
        return replace(sae, suspended=is_suspended, limits=replace(sae.limits, **wanted))

    return change


def admin_connection_json(connection: Connection, stored_key_count: int) -> dict[str, Any]:
    """As it was registered, and what administration has made of it."""
    state = {"suspended": connection.suspended, "revision": connection.revision}
    return connection_json(connection, stored_key_count) | state


def connection_change(body: bytes) -> Callable[[Connection], Connection]:
    """What a PATCH of a connection asks for; in `qos`, null takes a member away. `ttl_s` is the QoS member `TTL`."""
    members = _known_only(raw_object_in(body), [*_CONNECTION_COUNTS, "qos", "ttl_s", "suspended"])
    counts = {field: integer(members, name, 0, _MOST) for name, field in _CONNECTION_COUNTS.items() if name in members}
    suspended = boolean(members, "suspended") if "suspended" in members else None
    qos = {}
    if "qos" in members:
        qos = _known_only(an_object(members["qos"], "qos", keep_null=True), QOS_MEMBERS, "qos")
    wanted = {name: None if value is None else integer(qos, name, 0, _MOST) for name, value in qos.items()}
    if "ttl_s" in members:
        wanted["TTL"] = None if members["ttl_s"] is None else integer(members, "ttl_s", 1, _MOST)

    def change(connection: Connection) -> Connection:
        left = {name: value for name, value in {**connection.qos, **wanted}.items() if value is not None}
        is_suspended = connection.suspended if suspended is None else suspended
        return replace(connection, **counts, qos=left, suspended=is_suspended)

    return change


def outcome_json(outcome: Outcome, stored_key_count: int) -> dict[str, Any]:
    """The connection, and whether the change has come through; of a removal, how many keys it destroyed."""
    peer = None
    if outcome.peer_kme_id is not None:
        peer = {"kme_id": outcome.peer_kme_id, "told": outcome.peer_is_told}
    found = admin_connection_json(outcome.connection, stored_key_count) | {
        "complete": outcome.is_complete,
        "peer": peer,
    }
    if outcome.connection.removed:
        found |= {"removed": True, "destroyed_key_count": outcome.destroyed_key_count}
        if peer is not None:
            peer["destroyed_key_count"] = outcome.peer_destroyed_key_count
    return found


def _least(name: str) -> int:
    return LEAST_BURST if name == "request_burst" else 1


def _known_only(members: Mapping[str, Any], known: Sequence[str], where: str = "the body") -> dict[str, Any]:
    if not members:
        raise BadRequest(f"{where}: expected one or more of {', '.join(known)}")
    for name in members:
        if name not in known:
            raise BadRequest(f"{where}: {name[:40]!a} can't be changed: expected {', '.join(known)}")
    return dict(members)
