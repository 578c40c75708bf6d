"""The audit trail: written to a Redis stream in the same step as each act, drained from there to Postgres.

What happens in Postgres is appended in the transaction in which it happens (`kme.records.write_audit`). The trail's
end is remembered in Redis too, so that a tail that is cut off shows; what was appended since the last drain, a fraction
of a second, is not covered by that.

A database that was restored lacks a tail as well. The witness notices that (`kme.witness`): then an epoch begins, whose
entry says how far the trail had been, and that is no finding but told as what it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kme.audit_chain import EPOCH_BEGAN, TRAIL_CUT, End, Entry, Finding, append, end_of, examine, stored_link
from kme.database import Database
from kme.keystore import KeyStore
from kme.model import uuid_text
from kme.witness_store import Known, Mark, WitnessStore

log = logging.getLogger(__name__)

AT_ONCE = 500  # entries that are drained in one transaction
_UUIDS = ("block_id", "connection_id", "cut_id")
_COUNTS = ("bits", "key_count", "copy_count", "call_count", "rewrapped_count", "trail_number")


@dataclass(frozen=True)
class Verification:
    """Of one page: `last` is the number of its last row, `complete` whether that is the trail's."""

    findings: list[Finding]
    row_count: int
    last: int
    complete: bool
    end: End


class AuditTrail:
    def __init__(self, database: Database, keystore: KeyStore, key: bytes) -> None:
        self._database = database
        self._keystore = keystore
        self._key = key

    def drain(self, count: int = AT_ONCE) -> int:
        """Moves the oldest entries to Postgres; how many. One that is moved again after a crash is kept once.

        0 as long as the two stores are not of one epoch: one is to be recorded, or a store is another KME's.
        """
        anchor, known = self._remembered()  # read first: the trail is never behind it, unless it was cut
        drained = self._keystore.audit_entries(count)
        entries = [_entry(stream_id, fields) for stream_id, fields in drained]
        with self._database.transaction() as sql:
            recorded = _recorded(sql)
            if not _are_of_one_epoch(known, recorded):
                return 0
            end = end_of(sql)
            if lost := _lost(sql, anchor, end):
                if _is_restored(recorded, known):
                    return 0  # the witness begins an epoch first
                log.error("the audit trail in Postgres was cut or replaced: %s", json.dumps(lost))
                entries.insert(0, Entry(TRAIL_CUT, lost))
            entries = [_with_what_was_lost(sql, entry, end) for entry in entries]
            if entries:
                end = append(sql, self._key, entries)
        if end != anchor:
            self._keystore.anchor_audit(anchor, end)
        if drained:
            self._keystore.forget_audit_entries([stream_id for stream_id, _ in drained])
        return len(drained)

    def end(self) -> End:
        with self._database.transaction() as sql:
            return end_of(sql)

    def rows(
        self, after: int, count: int, event: str | None = None, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Up to `count` rows with greater numbers than `after`, in their order."""
        with self._database.transaction() as sql:
            return _rows(sql, after, count, event, since)

    def verify(self, after: int, count: int) -> Verification:
        """Checks up to `count` rows after row `after`, which was checked before; with the last of them, the end too."""
        anchor, known = self._remembered()
        with self._database.transaction() as sql:
            rows = _rows(sql, after if after else None, count)
            complete = len(rows) < count
            before = End(after, _link_of(sql, after)) if after else End(0, bytes(32))
            findings = examine(self._key, before, rows)
            end = end_of(sql)
            if complete and (lost := _lost(sql, anchor, end)):
                recorded, why = _recorded(sql), "the trail was cut or replaced"
                if is_explained := _is_restored(recorded, known):
                    why = "the database was restored"
                elif is_explained := not _are_of_one_epoch(known, recorded):
                    why = "the key store is of another epoch, or another KME's"
                what = f"its end was row {lost['number']}, as the key store remembers: {why}"
                findings.append(Finding(end.number, what, is_explained=is_explained))
        return Verification(findings, len(rows), rows[-1]["audit_id"] if rows else after, complete, end)

    def _remembered(self) -> tuple[End | None, Known]:
        """By the key store: the trail's end, and the witness."""
        return self._keystore.audit_end(), WitnessStore(self._keystore).read()


def _rows(
    sql: Any, after: int | None, count: int, event: str | None = None, since: datetime | None = None
) -> list[dict[str, Any]]:
    sql.execute(
        "SELECT audit_id, stream_id, happened_at, event, detail, chain FROM audit"
        " WHERE (%(after)s IS NULL OR audit_id > %(after)s) AND (%(event)s IS NULL OR event = %(event)s)"
        " AND (%(since)s::timestamptz IS NULL OR happened_at >= %(since)s) ORDER BY audit_id LIMIT %(count)s",
        {"after": after, "count": count, "event": event, "since": since},
    )
    return sql.fetchall()


def _lost(sql: Any, anchor: End | None, end: End) -> dict[str, Any] | None:
    """What the key store remembers of the trail's end and is not there as it was."""
    if anchor is None or anchor.number == 0 or _link_of(sql, anchor.number) == anchor.chain:
        return None
    return {"number": anchor.number, "chain": anchor.chain.hex(), "found_number": end.number}


def _recorded(sql: Any) -> Mark | None:
    """The mark of the witness in the database."""
    sql.execute("SELECT epoch, store, count FROM witness WHERE is_own")
    row = sql.fetchone()
    return Mark(**row) if row else None


def _are_of_one_epoch(known: Known, recorded: Mark | None) -> bool:
    return known.own is not None and recorded is not None and known.own.store == recorded.store


def _is_restored(recorded: Mark | None, known: Known) -> bool:
    """Whether the database is behind what it has acknowledged, which the witness is about to notice."""
    acknowledged = known.acknowledged
    return acknowledged is not None and (recorded is None or acknowledged.is_ahead_of(recorded))


def _with_what_was_lost(sql: Any, entry: Entry, end: End) -> Entry:
    """An epoch's entry says how far the trail was before: in the trail it is said only where that is gone."""
    if entry.event != EPOCH_BEGAN:
        return entry
    detail = dict(entry.detail)
    before = End(detail.pop("trail_number", 0), bytes.fromhex(detail.pop("trail_chain", "")))
    if lost := _lost(sql, before, end):
        detail["trail_lost"] = lost
    return replace(entry, detail=detail)


def _link_of(sql: Any, number: int) -> bytes:
    sql.execute("SELECT chain FROM audit WHERE audit_id = %s", (number,))
    row = sql.fetchone()
    return stored_link(row) if row else b""


def _entry(stream_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    detail = readable(fields)
    return Entry(detail.pop("event"), detail, stream_id.decode(), _time(stream_id))


def readable(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """An entry's fields as text and numbers; ids are 16 bytes each in the stream."""
    detail: dict[str, Any] = {}
    for raw_name, value in fields.items():
        name = raw_name.decode()
        if name == "key_ids":
            detail[name] = [uuid_text(value[i : i + 16]) for i in range(0, len(value), 16)]
        elif name in _UUIDS:
            detail[name] = str(UUID(bytes=value)) if len(value) == 16 else value.decode()
        elif name == "trail_chain":
            detail[name] = value.hex()
        elif name in _COUNTS:
            detail[name] = int(value)
        elif name == "consumed":
            detail[name] = value == b"true"
        elif name == "kind":
            detail |= json.loads(value)
        else:
            detail[name] = value.decode()
    return detail


def _time(stream_id: bytes) -> datetime:
    return datetime.fromtimestamp(int(stream_id.split(b"-")[0]) / 1000, UTC)
