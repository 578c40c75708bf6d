"""What a KME knows about blocks and what was cut from them, in Postgres: all but the bits.

A block goes `arriving → received → confirmed → closing → closed`; one that is given up before it is confirmed goes from
`received` straight to `closing`. A batch goes from `recorded` to `committed` or `refused`, and stays there; one that
was cut for one request may also go to `voiding`, and from there to `voided`, or `committed` where it was delivered.
Batches of single requests: `kme.request_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from psycopg2.errors import ForeignKeyViolation

from kme.database import Database
from kme.errors import Unavailable
from kme.model import CONFIRMATION_BITS, Batch, Block

_BLOCK = "block_id, link, owner_kme_id, length_bits, state, digest, cursor_bits, owner_tag, peer_tag, origin, binding"
BATCH_COLUMNS = (
    "batch_id, block_id, offset_bits, key_size_bits, connection_id, key_ids, recipients, own_recipients, request_id,"
    " ttl_s, recorded_ms"
)
# For reading; `batch` has to be joined with `connection`.
BATCH_FIELDS = ", ".join(f"batch.{name}" for name in BATCH_COLUMNS.split(", ")) + ", master_sae_id, slave_sae_id"


class BlockRecords:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_block(self, block: Block) -> Block:
        """The block as it is known: this one, or the one that came before under its id."""
        with self._database.transaction() as sql:
            try:
                sql.execute(
                    "INSERT INTO block (block_id, link, owner_kme_id, length_bits, digest, state, origin, binding)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (block_id) DO NOTHING",
                    (
                        block.block_id,
                        block.link,
                        block.owner_kme_id,
                        block.length_bits,
                        block.digest,
                        block.state,
                        block.origin,
                        block.binding,
                    ),
                )
            except ForeignKeyViolation:
                raise Unavailable(
                    f"Postgres: link {block.link} is not there yet, the scheduler records it at its start"
                ) from None
            sql.execute(f"SELECT {_BLOCK} FROM block WHERE block_id = %s", (block.block_id,))
            return _block(sql.fetchone())

    def block(self, block_id: UUID) -> Block | None:
        with self._database.transaction() as sql:
            sql.execute(f"SELECT {_BLOCK} FROM block WHERE block_id = %s", (block_id,))
            row = sql.fetchone()
            return _block(row) if row else None

    def set_received(self, block_id: UUID) -> None:
        with self._database.transaction() as sql:
            sql.execute("UPDATE block SET state = 'received' WHERE block_id = %s AND state = 'arriving'", (block_id,))

    def set_tags(self, block_id: UUID, owner_tag: bytes, peer_tag: bytes) -> None:
        """Before the bits that made them are burned, so that the same question can be answered again afterwards."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE block SET owner_tag = %s, peer_tag = %s WHERE block_id = %s AND owner_tag IS NULL",
                (owner_tag, peer_tag, block_id),
            )

    def set_confirmed(self, block_id: UUID) -> bool:
        """Whether it is confirmed now; not where it was given up meanwhile."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE block SET state = 'confirmed', cursor_bits = %s WHERE block_id = %s AND state = 'received'",
                (CONFIRMATION_BITS, block_id),
            )
            sql.execute("SELECT 1 FROM block WHERE block_id = %s AND state = 'confirmed'", (block_id,))
            return sql.fetchone() is not None

    def set_void(self, block_id: UUID, reason: str) -> None:
        """Gives up a block that can't be confirmed: nothing was cut from it, and nothing will be."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE block SET state = 'closing', void_reason = %s WHERE block_id = %s AND state = 'received'",
                (reason, block_id),
            )

    def set_closed(self, block_id: UUID) -> None:
        with self._database.transaction() as sql:
            sql.execute("UPDATE block SET state = 'closed' WHERE block_id = %s", (block_id,))

    def blocks_of(self, owner_kme_id: str, link: str, *states: str) -> list[Block]:
        with self._database.transaction() as sql:
            sql.execute(
                f"SELECT {_BLOCK} FROM block WHERE owner_kme_id = %s AND link = %s AND state = ANY(%s)"
                " ORDER BY recorded_at, block_id",
                (owner_kme_id, link, list(states)),
            )
            return [_block(row) for row in sql.fetchall()]

    def start_closing(self, owner_kme_id: str, link: str, smallest_use_bits: int) -> None:
        """Own blocks with less than `smallest_use_bits` uncut, all of whose batches are settled, are done with."""
        done_with = (
            "owner_kme_id = %s AND link = %s AND state = 'confirmed' AND length_bits - cursor_bits < %s"
            " AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.block_id = block.block_id"
            " AND batch.state IN ('recorded', 'voiding'))"
        )
        values = (owner_kme_id, link, smallest_use_bits)
        with self._database.transaction() as sql:
            sql.execute(f"SELECT 1 FROM block WHERE {done_with} LIMIT 1", values)
            if sql.fetchone() is None:
                return  # without the lock, which would be written to disk in each of the scheduler's steps
            self._lock(sql, link)
            sql.execute(f"UPDATE block SET state = 'closing' WHERE {done_with}", values)

    def record_batch(
        self, owner_kme_id: str, link: str, key_size_bits: int, make: Callable[[Block], Batch]
    ) -> Batch | None:
        """Cuts a range for good: finds an own block with room, has `make` lay a batch at its cursor, and advances that.

        None where no confirmed block has room for one key. The link's row is locked meanwhile, so two processes can't
        cut the same range; once this has returned, no crash can undo the record.
        """
        with self._database.transaction() as sql:
            self._lock(sql, link)
            sql.execute(
                f"SELECT {_BLOCK} FROM block WHERE owner_kme_id = %s AND link = %s AND state = 'confirmed'"
                " AND length_bits - cursor_bits >= %s ORDER BY recorded_at, block_id LIMIT 1",
                (owner_kme_id, link, key_size_bits),
            )
            row = sql.fetchone()
            if row is None:
                return None
            batch = make(_block(row))
            sql.execute(
                f"INSERT INTO batch ({BATCH_COLUMNS}, state)"
                " VALUES (%s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s, %s, %s, 'recorded')",
                (
                    batch.batch_id,
                    batch.block_id,
                    batch.offset_bits,
                    batch.key_size_bits,
                    batch.connection_id,
                    list(batch.key_ids),
                    list(batch.recipients),
                    list(batch.own_recipients),
                    batch.request_id,
                    batch.ttl_s,
                    batch.recorded_ms,
                ),
            )
            sql.execute("UPDATE block SET cursor_bits = %s WHERE block_id = %s", (batch.end_bits, batch.block_id))
            return batch

    def uncut_key_count(self, owner_kme_id: str, link: str, key_size_bits: int) -> int:
        """How many keys of that size the confirmed blocks have room for."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT coalesce(sum((length_bits - cursor_bits) / %s), 0)::bigint AS key_count FROM block"
                " WHERE owner_kme_id = %s AND link = %s AND state = 'confirmed'",
                (key_size_bits, owner_kme_id, link),
            )
            return int(sql.fetchone()["key_count"])

    def settle(self, batch_id: UUID, state: str, refusal: str | None = None) -> None:
        """Where it is not settled yet; a batch that is being voided can't be refused."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE batch SET state = %s, refusal = %s WHERE batch_id = %s AND state = 'recorded'",
                (state, refusal, batch_id),
            )

    def unsettled(self, link: str) -> list[Batch]:
        """Batches for the pools of connections whose outcome is not known yet, oldest first."""
        with self._database.transaction() as sql:
            sql.execute(
                f"SELECT {BATCH_FIELDS} FROM batch JOIN block USING (block_id) JOIN connection USING (connection_id)"
                " WHERE batch.state = 'recorded' AND request_id IS NULL AND link = %s"
                " ORDER BY batch.recorded_at, batch_id",
                (link,),
            )
            return [batch_in_row(row) for row in sql.fetchall()]

    def oldest_unsettled(self) -> tuple[int, float]:
        """How many batches are not settled at both ends, and the age of the oldest in seconds, 0 without any."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT count(*) AS count, coalesce(extract(epoch FROM now() - min(recorded_at)), 0) AS age_s"
                " FROM batch WHERE state IN ('recorded', 'voiding')"
            )
            row = sql.fetchone()
            return row["count"], float(row["age_s"])

    def pending_key_counts(self) -> dict[tuple[UUID, int], int]:
        """How many keys of which size are on their way to which connection's pool, over all links."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT connection_id, key_size_bits, sum(cardinality(key_ids))::bigint AS key_count FROM batch"
                " WHERE state = 'recorded' AND request_id IS NULL GROUP BY connection_id, key_size_bits"
            )
            return {(row["connection_id"], row["key_size_bits"]): int(row["key_count"]) for row in sql.fetchall()}

    def void_batches_of_removed(self) -> list[Batch]:
        """Settles the open batches of removed connections as refused, and gives them: their bits are to be burned."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE batch SET state = 'refused', refusal = 'its connection was removed' FROM connection"
                " WHERE batch.connection_id = connection.connection_id AND connection.removed"
                f" AND batch.state = 'recorded' AND request_id IS NULL RETURNING {BATCH_FIELDS}"
            )
            return [batch_in_row(row) for row in sql.fetchall()]

    def open_blocks(self, link: str) -> list[Block]:
        """Whoever owns them, sorted by owner and state."""
        with self._database.transaction() as sql:
            sql.execute(
                f"SELECT {_BLOCK} FROM block WHERE link = %s AND state <> 'closed' ORDER BY owner_kme_id, state",
                (link,),
            )
            return [_block(row) for row in sql.fetchall()]

    def reserved_bits(self) -> int:
        """Bits recorded as cut for pools of connections, whose batch is not settled."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT coalesce(sum(cardinality(key_ids)::bigint * key_size_bits), 0)::bigint AS bits FROM batch"
                " WHERE state = 'recorded' AND request_id IS NULL"
            )
            return int(sql.fetchone()["bits"])

    @staticmethod
    def _lock(sql: Any, link: str) -> None:
        sql.execute("SELECT 1 FROM link WHERE name = %s FOR UPDATE", (link,))


def _block(row: Mapping[str, Any]) -> Block:
    octets = ("digest", "owner_tag", "peer_tag", "binding")
    return Block(**{k: bytes(v) if k in octets and v is not None else v for k, v in row.items()})


def batch_in_row(row: Mapping[str, Any]) -> Batch:
    return Batch(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})
