"""The audit trail for somebody who watches: the newest events, then those after them."""

from __future__ import annotations

from typing import Any

from kme.database import Database


class EventFeed:
    """Raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, after: int | None, count: int) -> list[dict[str, Any]]:
        """Up to `count` events after the one with the number `after`, oldest first; without it the newest ones.

        Of an event's keys only the first one's id and how many they are: a batch has a thousand. No bits of any.
        """
        columns = (
            "SELECT audit_id AS id, happened_at AS at, event, detail - 'key_ids' AS detail,"
            " detail -> 'key_ids' ->> 0 AS key_id, jsonb_array_length(detail -> 'key_ids') AS key_count FROM audit"
        )
        with self._database.transaction() as sql:
            if after is None:
                sql.execute(f"{columns} ORDER BY audit_id DESC LIMIT %s", (count,))
                return [_event(row) for row in reversed(sql.fetchall())]
            sql.execute(f"{columns} WHERE audit_id > %s ORDER BY audit_id LIMIT %s", (after, count))
            return [_event(row) for row in sql.fetchall()]


def _event(row: dict[str, Any]) -> dict[str, Any]:
    keys = {"key_id": row["key_id"], "key_count": row["key_count"]} if row["key_id"] else {}
    return {"id": row["id"], "at": row["at"].isoformat(timespec="milliseconds"), "event": row["event"]} | {
        "detail": row["detail"] | keys
    }
