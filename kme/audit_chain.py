"""The audit trail's hash chain: a row that is removed, changed, inserted or moved shows.

Each row carries an HMAC-SHA256 of its content and the HMAC of the row before it, under a key that is not in the
database: whoever has the database alone can't write a chain that verifies. (A chain of bare hashes shows changes only
to one who has kept its end elsewhere: everybody can compute it anew.) Rows are numbered 1, 2, 3 ... without a gap.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg2.extras import Json, execute_values

TRAIL_CUT = "audit_trail_cut"
EPOCH_BEGAN = "epoch_began"
_LOCK = 0x716B6461  # any constant will do; each KME has a database of its own
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEFORE_THE_FIRST = bytes(32)


@dataclass(frozen=True)
class Entry:
    """What is to be appended. `stream_id`: where it comes from the key store; else it happened in its transaction."""

    event: str
    detail: Mapping[str, Any]
    stream_id: str | None = None
    happened_at: datetime | None = None


class End(NamedTuple):
    """The last row: its number, 0 where there is none, and its link of the chain."""

    number: int
    chain: bytes


def append(sql: Any, key: bytes, entries: Sequence[Entry]) -> End:
    """Adds what is not there yet, within the caller's transaction; the end of the trail after that.

    From here to the transaction's end nobody else appends. It is the last thing a transaction does, so that this lock
    is always taken after every other, and never waits in a circle.
    """
    sql.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    end = end_of(sql)
    drained = [entry.stream_id for entry in entries if entry.stream_id]
    sql.execute(
        "SELECT now() AS now, array(SELECT stream_id FROM audit WHERE stream_id = ANY(%s)) AS known", (drained,)
    )
    row = sql.fetchone()
    now, known = row["now"], set(row["known"])
    rows = []
    for entry in entries:
        if entry.stream_id in known:
            continue  # drained before a crash, and not forgotten at its source
        number, at, detail = end.number + 1, entry.happened_at or now, dict(entry.detail)
        end = End(number, link(key, end.chain, number, at, entry.event, detail, entry.stream_id))
        rows.append((number, entry.stream_id, at, entry.event, Json(detail), end.chain))
    if rows:
        execute_values(
            sql, "INSERT INTO audit (audit_id, stream_id, happened_at, event, detail, chain) VALUES %s", rows
        )
    return end


def end_of(sql: Any) -> End:
    sql.execute("SELECT audit_id, chain FROM audit ORDER BY audit_id DESC LIMIT 1")
    row = sql.fetchone()
    return End(row["audit_id"], stored_link(row)) if row else End(0, _BEFORE_THE_FIRST)


def stored_link(row: Mapping[str, Any]) -> bytes:
    return bytes(row["chain"] or b"")


def link(
    key: bytes,
    previous: bytes,
    number: int,
    happened_at: datetime,
    event: str,
    detail: Mapping[str, Any],
    stream_id: str | None,
) -> bytes:
    moment_us = (happened_at - _EPOCH) // timedelta(microseconds=1)
    content = [number, moment_us, event, detail, stream_id]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.digest(key, len(previous).to_bytes(2) + previous + text.encode(), "sha256")


@dataclass(frozen=True)
class Finding:
    """What is wrong with the trail, in words; `audit_id`: at which row.

    `is_explained`: the database was restored, and the witness has noticed that.
    """

    audit_id: int
    what: str
    is_explained: bool = False


def examine(key: bytes, before: End, rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """What is wrong with rows, in their order, that follow `before` (its chain None where it is not known)."""
    found: list[Finding] = []
    number, previous = before
    for row in rows:
        at = row["audit_id"]
        if at <= 0:
            found.append(Finding(at, "was inserted: the trail begins with row 1"))
            continue
        is_next = at == number + 1
        if not is_next:
            gap = f"rows {number + 1} to {at - 1} are" if at - number > 2 else f"row {number + 1} is"
            found.append(Finding(number + 1, f"{gap} missing; row {at} can't be checked without"))
        if row["chain"] is None:
            found.append(Finding(at, "has no link of the chain: it was inserted, or is older than the chain"))
        elif is_next:
            content = (row["happened_at"], row["event"], row["detail"], row["stream_id"])
            if not hmac.compare_digest(link(key, previous, at, *content), stored_link(row)):
                found.append(Finding(at, "was changed, inserted or moved: its content does not fit its place"))
        if row["event"] == TRAIL_CUT:
            found.append(
                Finding(at, f"reports that the trail was cut or replaced before it: {json.dumps(row['detail'])}")
            )
        if row["event"] == EPOCH_BEGAN and (lost := row["detail"].get("trail_lost")):
            what = f"the database was restored before it: the trail had gone on to row {lost['number']}, which is gone"
            found.append(Finding(at, what, is_explained=True))
        number, previous = at, stored_link(row)
    return found
