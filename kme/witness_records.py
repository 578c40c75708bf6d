"""The witness in the site's Postgres."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from kme.database import Database
from kme.errors import Unavailable
from kme.witness_store import Mark

_USED = ("received", "confirmed", "closing")  # states of blocks whose bits are in Redis


class WitnessRecords:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database, kme_id: str) -> None:
        self._database = database
        self._kme_id = kme_id

    def read(self) -> dict[str, Mark]:
        """The marks by KME id, this one's among them. Raises Unavailable where the database is another KME's."""
        with self._database.transaction() as sql:
            sql.execute("SELECT kme_id, is_own, epoch, store, count FROM witness")
            rows = sql.fetchall()
        for row in rows:
            if row["is_own"] and row["kme_id"] != self._kme_id:
                raise Unavailable(f"the database is {row['kme_id']}'s: give {self._kme_id} its own")
        return {row["kme_id"]: Mark(row["epoch"], row["store"], row["count"]) for row in rows}

    def write(self, kme_id: str, mark: Mark, *, is_own: bool) -> None:
        """Where it is later than what is there."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO witness (kme_id, is_own, epoch, store, count) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (kme_id) DO UPDATE SET epoch = excluded.epoch, store = excluded.store,"
                " count = excluded.count WHERE witness.epoch < excluded.epoch"
                " OR (witness.epoch = excluded.epoch AND witness.count < excluded.count)",
                (kme_id, is_own, mark.epoch, mark.store, mark.count),
            )

    def follow_again(self) -> None:
        """The key store has to follow the changes of all connections anew."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE connection SET followed_revision = 0 WHERE followed_revision > 0")

    def used_blocks(self) -> list[UUID]:
        """Those whose bits ought to be in Redis."""
        with self._database.transaction() as sql:
            sql.execute("SELECT block_id FROM block WHERE state = ANY(%s)", (list(_USED),))
            return [row["block_id"] for row in sql.fetchall()]

    def close_lost(self, block_ids: Iterable[UUID]) -> None:
        """Closes blocks whose bits are gone, and settles their batches: nothing of them is ever sent again."""
        ids = list(block_ids)
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE block SET state = 'closed', void_reason = 'its epoch is over'"
                " WHERE block_id = ANY(%s::uuid[]) AND state = ANY(%s)",
                (ids, list(_USED)),
            )
            sql.execute(
                "UPDATE batch SET state = CASE state WHEN 'recorded' THEN 'refused' ELSE 'voided' END,"
                " refusal = 'its epoch is over'"
                " WHERE block_id = ANY(%s::uuid[]) AND state IN ('recorded', 'voiding')",
                (ids,),
            )
