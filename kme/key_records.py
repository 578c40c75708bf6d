"""What Postgres tells of single keys, and how long it remembers closed blocks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from kme.database import Database


@dataclass(frozen=True)
class KeyEvent:
    event: str
    at: datetime
    detail: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """When a key's block came in, and when it was cut from it: the latter is known at the block's owner alone."""

    connection_id: UUID | None = None
    stored_at: datetime | None = None
    reserved_at: datetime | None = None


class KeyRecords:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, key_id: UUID) -> list[KeyEvent]:
        """Of the audit trail, oldest first; without the other keys of the same event."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT event, happened_at, detail - 'key_ids' AS detail FROM audit"
                " WHERE (detail -> 'key_ids') @> %s ORDER BY audit_id",
                (Json([str(key_id)]),),
            )
            return [KeyEvent(row["event"], row["happened_at"], row["detail"]) for row in sql.fetchall()]

    def origin(self, key_id: UUID, block_id: str | None) -> Origin:
        """`block_id`: what the audit trail says, where there is no batch of this KME's."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT connection_id, block.recorded_at AS stored_at, batch.recorded_at AS reserved_at"
                " FROM batch JOIN block USING (block_id) WHERE key_ids @> ARRAY[%s]::uuid[]",
                (key_id,),
            )
            row = sql.fetchone()
            if row is None and block_id is not None:
                sql.execute("SELECT recorded_at AS stored_at FROM block WHERE block_id = %s", (block_id,))
                row = sql.fetchone()
            return Origin(**row) if row else Origin()

    def saes(self, connection_id: UUID) -> tuple[str, str] | None:
        """Master and slave, also of a connection that was removed."""
        with self._database.transaction() as sql:
            sql.execute("SELECT master_sae_id, slave_sae_id FROM connection WHERE connection_id = %s", (connection_id,))
            row = sql.fetchone()
            return (row["master_sae_id"], row["slave_sae_id"]) if row else None

    def forget_closed(self, now_ms: int, kept_ms: int, count: int) -> list[UUID]:
        """Deletes up to `count` blocks that were seen closed `kept_ms` ago by the site's slow clock: these."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE block SET closed_ms = %s WHERE state = 'closed' AND closed_ms IS NULL", (now_ms,))
            sql.execute(
                "SELECT block_id FROM block WHERE state = 'closed' AND closed_ms <= %s AND NOT EXISTS (SELECT 1"
                " FROM batch WHERE batch.block_id = block.block_id AND batch.state IN ('recorded', 'voiding'))"
                " ORDER BY closed_ms LIMIT %s",
                (now_ms - kept_ms, count),
            )
            found = [row["block_id"] for row in sql.fetchall()]
            if found:
                sql.execute("DELETE FROM batch WHERE block_id = ANY(%s::uuid[])", (found,))
                sql.execute("DELETE FROM block WHERE block_id = ANY(%s::uuid[])", (found,))
            return found
