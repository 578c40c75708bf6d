"""Batches cut for one request, in Postgres: settled together, once its keys were delivered, or can't be any more."""

from __future__ import annotations

from uuid import UUID

from kme.block_records import BATCH_FIELDS, batch_in_row
from kme.database import Database
from kme.model import Batch

_READ = f"SELECT {BATCH_FIELDS} FROM batch JOIN block USING (block_id) JOIN connection USING (connection_id)"


class RequestRecords:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, request_id: UUID, link: str, key_size_bits: int) -> None:
        """All of its batches, of keys of that size, were delivered to the master."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE batch SET state = 'committed' WHERE request_id = %s AND state IN ('recorded', 'voiding')",
                (request_id,),
            )
            sql.execute("DELETE FROM wanted_keys WHERE link = %s AND key_size_bits = %s", (link, key_size_bits))

    def start_voiding(self, request_id: UUID) -> list[Batch]:
        """Its batches that are to be voided: those not settled yet. From here on, a crash does not stop it."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE batch SET state = 'voiding' WHERE request_id = %s AND state = 'recorded'",
                (request_id,),
            )
            sql.execute(f"{_READ} WHERE request_id = %s AND batch.state = 'voiding'", (request_id,))
            return [batch_in_row(row) for row in sql.fetchall()]

    def want(self, link: str, key_size_bits: int, key_count: int) -> None:
        """Notes what there were too few bits for."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO wanted_keys (link, key_size_bits, key_count) VALUES (%s, %s, %s)"
                " ON CONFLICT (link, key_size_bits)"
                " DO UPDATE SET key_count = greatest(wanted_keys.key_count, excluded.key_count)",
                (link, key_size_bits, key_count),
            )

    def wanted(self, link: str) -> list[tuple[int, int]]:
        """Pairs of key size in bits and key count."""
        with self._database.transaction() as sql:
            sql.execute("SELECT key_size_bits, key_count FROM wanted_keys WHERE link = %s", (link,))
            return [(row["key_size_bits"], row["key_count"]) for row in sql.fetchall()]

    def settle(self, batch_id: UUID, state: str) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE batch SET state = %s WHERE batch_id = %s AND state = 'voiding'",
                (state, batch_id),
            )

    def unsettled(self, link: str, state: str) -> list[Batch]:
        """Batches of requests, `recorded` or `voiding`, oldest first."""
        with self._database.transaction() as sql:
            sql.execute(
                f"{_READ} WHERE request_id IS NOT NULL AND batch.state = %s AND link = %s"
                " ORDER BY batch.recorded_at, batch_id",
                (state, link),
            )
            return [batch_in_row(row) for row in sql.fetchall()]
