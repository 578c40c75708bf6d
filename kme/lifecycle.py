"""The life of a key at this KME, and its end.

STORED: its bits are in a block here. RESERVED: they were cut from it for a connection, and are on their way to its pool
and to its recipients, or there. DELIVERED: an SAE of this site has it. CONSUMED: all its recipients of this site have
it, or said that they need it no more. EXPIRED, DESTROYED: a copy ended otherwise. Each change is in the audit trail.
A KME speaks of its own site: the master's is not told when the other's recipients fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from kme.audit import AuditTrail
from kme.errors import NotEntitled, NotHere, Unavailable
from kme.key_records import KeyRecords
from kme.keystore import UNCHECKED, KeyStore
from kme.model import KmeSettings
from kme.witness_store import WitnessStore

KeyState = Literal["STORED", "RESERVED", "DELIVERED", "CONSUMED", "EXPIRED", "DESTROYED"]

_STATE_AFTER: dict[str, KeyState] = {
    "keys_stored": "RESERVED",
    "keys_delivered": "DELIVERED",
    "keys_consumed": "CONSUMED",
    "keys_expired": "EXPIRED",
    "keys_destroyed": "DESTROYED",
    "keys_voided": "DESTROYED",
}
_AT_ONCE = 500  # entries of each kind that one step of the sweeper takes: Redis serves nobody else meanwhile
_DRAINED_AT_ONCE = 20


@dataclass(frozen=True)
class Change:
    """`sae_id` and `role` (`master` or `slave`): who got the key; `reason`: why it was destroyed."""

    state: KeyState
    at: datetime
    sae_id: str | None = None
    role: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class KeyLife:
    """A key's changes at this KME, oldest first. `time_left_s`: for how long its recipients can fetch it, at least."""

    key_id: UUID
    connection_id: UUID
    master_sae_id: str
    slave_sae_id: str
    changes: tuple[Change, ...]
    time_left_s: float | None

    @property
    def state(self) -> KeyState:
        return self.changes[-1].state


class Lifecycle:
    def __init__(self, settings: KmeSettings, records: KeyRecords, keystore: KeyStore, audit: AuditTrail) -> None:
        self._settings = settings
        self._records = records
        self._keystore = keystore
        self._audit = audit

    def life(self, key_id: UUID) -> KeyLife:
        """Raises NotHere where nothing is known of it (any more)."""
        for _ in range(_DRAINED_AT_ONCE):  # what has just happened is still in the stream
            if not self._audit.drain():
                break
        events = self._records.events(key_id)
        origin = self._records.origin(key_id, next((one.detail.get("block_id") for one in events), None))
        connection_id = origin.connection_id or next(
            (UUID(one.detail["connection_id"]) for one in events if "connection_id" in one.detail), None
        )
        saes = self._records.saes(connection_id) if connection_id else None
        if connection_id is None or saes is None:
            raise NotHere(f"key {key_id} is not known at {self._settings.kme_id}")
        changes = [Change("STORED", origin.stored_at)] if origin.stored_at else []
        if origin.reserved_at:
            changes.append(Change("RESERVED", origin.reserved_at))
        for one in events:
            state = _STATE_AFTER.get(one.event)
            if state and not (state == "RESERVED" and origin.reserved_at):
                changes.append(Change(state, one.at, *(one.detail.get(name) for name in ("sae_id", "role", "reason"))))
                if one.detail.get("consumed"):
                    changes.append(Change("CONSUMED", one.at))
        return KeyLife(key_id, connection_id, *saes, tuple(changes), self.time_left_s(key_id))

    def time_left_s(self, key_id: UUID) -> float | None:
        """For how long recipients can fetch a key, at least. None where it is not known here, or its time is over.

        At the master's KME it is an estimate from the moment the key came into its pool; the margin covers that.
        """
        left_ms = self._keystore.time_left_ms(key_id)
        left_s = None if left_ms is None else left_ms / 1000 - self._settings.ttl_margin_s
        return left_s if left_s is not None and left_s > 0 else None

    def consume(self, caller: str, key_id: UUID) -> None:
        """A recipient needs no more of a key: its copy, where it did not fetch it, is destroyed. Again: nothing.

        Its master may say so as well, which changes nothing: it has its copy. Raises NotHere for a key that is not
        known, NotEntitled for another SAE's.
        """
        outcome = self._keystore.run("consume_key", ["entitlement", "account", "audit"], [key_id.bytes, caller])
        if outcome == b"unchecked":
            raise Unavailable(UNCHECKED)
        if outcome == b"unknown":
            WitnessStore(self._keystore).require_checked()  # else this may be another store
            raise NotHere(f"key {key_id} is not known at {self._settings.kme_id}")
        if outcome == b"not_entitled":
            raise NotEntitled(f"key {key_id} is not for SAE {caller}")

    def sweep(self, at_once: int = _AT_ONCE, step_count: int = 20) -> int:
        """Destroys what has expired, in steps of `at_once`; how many copies of keys that were. The rest: next time."""
        expired_count = 0
        for _ in range(step_count):
            keys = ["account", "audit", "entitlement"]
            seen_count, key_count = self._keystore.run("sweep", keys, [self._keystore.now(), at_once])
            expired_count += key_count
            if not seen_count:
                break
        return expired_count

    def forget_old(self, at_once: int = _AT_ONCE) -> int:
        """Forgets blocks that have been closed for long, and their batches; how many blocks.

        What is forgotten could be handed over once more, and be taken for new. A QKDE offers a block again every few
        seconds until it is acknowledged, so a month is more than any outage it was lost in.
        """
        _, slow_ms = self._keystore.clocks_ms()
        forgotten = self._records.forget_closed(slow_ms, self._settings.closed_kept_s * 1000, at_once)
        self._keystore.forget_blocks(forgotten)
        return len(forgotten)


def life_json(life: KeyLife, kme_id: str) -> dict[str, Any]:
    def change_json(one: Change) -> dict[str, Any]:
        more = {"sae_id": one.sae_id, "role": one.role, "reason": one.reason}
        found = {"state": one.state, "at": one.at.isoformat()}
        return found | {name: value for name, value in more.items() if value is not None}

    return {
        "key_id": str(life.key_id),
        "kme_id": kme_id,
        "connection_id": str(life.connection_id),
        "master_sae_id": life.master_sae_id,
        "slave_sae_id": life.slave_sae_id,
        "state": life.state,
        "states": [change_json(one) for one in life.changes],
        "time_left_s": life.time_left_s,
    }
