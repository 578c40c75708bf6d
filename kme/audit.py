"""The audit trail: written to a Redis stream in the same step as each act, drained from there to Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from kme.database import Database
from kme.keystore import KeyStore

_UUIDS = ("block_id", "connection_id", "cut_id")


class AuditTrail:
    def __init__(self, database: Database, keystore: KeyStore) -> None:
        self._database = database
        self._keystore = keystore

    def drain(self, count: int = 500) -> int:
        """Moves the oldest entries to Postgres; how many. One that is moved again after a crash is kept once."""
        entries = self._keystore.audit_entries(count)
        if not entries:
            return 0
        with self._database.transaction() as sql:
            for stream_id, fields in entries:
                detail = readable(fields)
                sql.execute(
                    "INSERT INTO audit (stream_id, happened_at, event, detail) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT (stream_id) DO NOTHING",
                    (stream_id.decode(), _time(stream_id), detail.pop("event"), Json(detail)),
                )
        self._keystore.forget_audit_entries([stream_id for stream_id, _ in entries])
        return len(entries)


def readable(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """An entry's fields as text and numbers; ids are 16 bytes each in the stream."""
    detail: dict[str, Any] = {}
    for raw_name, value in fields.items():
        name = raw_name.decode()
        if name == "key_ids":
            detail[name] = [str(UUID(bytes=value[i : i + 16])) for i in range(0, len(value), 16)]
        elif name in _UUIDS:
            detail[name] = str(UUID(bytes=value)) if len(value) == 16 else value.decode()
        elif name in ("bits", "key_count", "copy_count", "call_count"):
            detail[name] = int(value)
        elif name == "kind":
            detail |= json.loads(value)
        else:
            detail[name] = value.decode()
    return detail


def _time(stream_id: bytes) -> datetime:
    return datetime.fromtimestamp(int(stream_id.split(b"-")[0]) / 1000, UTC)
