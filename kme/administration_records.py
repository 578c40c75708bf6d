"""Changes of SAEs and connections by operators, in Postgres: each one transaction, with its line in the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from kme.database import Database
from kme.model import Connection, Sae
from kme.records import (
    connection_of,
    insert_connection,
    locked,
    refuse_contradiction,
    sae_of,
    who,
    write_audit,
    write_state,
)


@dataclass(frozen=True)
class Unfinished:
    """A connection whose last change has not reached the other KME, or this site's key store."""

    connection: Connection
    is_told: bool
    is_followed: bool


class AdministrationRecords:
    """Every method raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database, kme_id: str) -> None:
        self._database = database
        self._kme_id = kme_id

    def connection(self, connection_id: UUID) -> Connection | None:
        """Removed or not."""
        with self._database.transaction() as sql:
            sql.execute("SELECT * FROM connection WHERE connection_id = %s", (connection_id,))
            row = sql.fetchone()
            return connection_of(row) if row else None

    def revise(self, connection_id: UUID, change: Callable[[Connection], Connection]) -> Connection | None:
        """The connection after a change made here; it is recorded as one the other KME is to be told.

        None where it is not registered. A change to what it is already is none. What `change` raises undoes all.
        """
        with self._database.transaction() as sql:
            known = locked(sql, connection_id)
            if known is None or known.removed:
                return None
            wanted = change(known)
            if wanted == known:
                return known
            return self._write(sql, known, wanted)

    def follow(self, offered: Connection) -> Connection:
        """What the other KME says a connection is; the state that holds here after that.

        An earlier state than the known one changes nothing. Raises Conflict where the states are of one revision and
        differ, or the known one is a removal that the other KME has not heard of.
        """
        with self._database.transaction() as sql:
            if insert_connection(sql, offered):
                return offered
            known = locked(sql, offered.connection_id)
            if not known.removed and _ends(known) != _ends(offered):
                refuse_contradiction(known, offered)  # whoever is not an end of it has no say in it
            if offered.supersedes(known):
                write_state(sql, offered, told=True)
                self._after_write(sql, known, offered)
                return offered
            if known.supersedes(offered) and not known.removed:
                return known
            if not (known.removed and offered.removed):
                refuse_contradiction(known, offered)
            return known

    def remove_sae(self, sae_id: str) -> list[Connection] | None:
        """Removes an SAE and, at once, its connections: these. None where it is not registered here."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE sae SET removed = true WHERE sae_id = %s AND NOT removed", (sae_id,))
            if not sql.rowcount:
                return None
            write_audit(sql, "sae_removed", {"sae_id": sae_id})
            sql.execute(
                "SELECT * FROM connection WHERE %s IN (master_sae_id, slave_sae_id) AND NOT removed"
                " ORDER BY connection_id FOR UPDATE",
                (sae_id,),
            )
            known = [connection_of(row) for row in sql.fetchall()]
            return [self._write(sql, one, replace(one, removed=True)) for one in known]

    def revise_sae(self, sae_id: str, change: Callable[[Sae], Sae]) -> Sae | None:
        """None where it is not registered here."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT sae_id, suspended, limits FROM sae WHERE sae_id = %s AND NOT removed FOR UPDATE", (sae_id,)
            )
            row = sql.fetchone()
            if row is None:
                return None
            known = sae_of(row)
            wanted = change(known)
            if wanted != known:
                limits = asdict(wanted.limits)
                sql.execute(
                    "UPDATE sae SET suspended = %s, limits = %s WHERE sae_id = %s",
                    (wanted.suspended, Json(limits), sae_id),
                )
                write_audit(sql, "sae_changed", {"sae_id": sae_id, "suspended": wanted.suspended, **limits})
            return wanted

    def unfinished(self) -> list[Unfinished]:
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT * FROM connection WHERE told_revision < revision OR followed_revision < revision"
                " ORDER BY connection_id"
            )
            return [
                Unfinished(
                    connection_of(row),
                    row["told_revision"] >= row["revision"],
                    row["followed_revision"] >= row["revision"],
                )
                for row in sql.fetchall()
            ]

    def set_told(self, connection: Connection) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE connection SET told_revision = greatest(told_revision, %s) WHERE connection_id = %s",
                (connection.revision, connection.connection_id),
            )

    def set_followed(self, connection: Connection, destroyed_key_count: int) -> int:
        """How many keys its removal has destroyed here, in all."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE connection SET followed_revision = greatest(followed_revision, %s),"
                " destroyed_key_count = CASE WHEN removed THEN destroyed_key_count + %s ELSE 0 END"
                " WHERE connection_id = %s RETURNING destroyed_key_count",
                (connection.revision, destroyed_key_count, connection.connection_id),
            )
            return int(sql.fetchone()["destroyed_key_count"])

    def _write(self, sql: Any, known: Connection, wanted: Connection) -> Connection:
        wanted = replace(wanted, revision=known.revision + 1, revised_by=self._kme_id)
        # Where both SAEs live here there is nobody to tell.
        write_state(sql, wanted, told=wanted.source_kme_id == wanted.target_kme_id)
        self._after_write(sql, known, wanted)
        return wanted

    @staticmethod
    def _after_write(sql: Any, known: Connection, wanted: Connection) -> None:
        event = "connection_changed"
        if wanted.removed:
            event = "connection_removed"
        elif known.removed:
            event = "connection_registered"
        detail = who(wanted) | {"by": wanted.revised_by, "suspended": wanted.suspended}
        write_audit(sql, event, detail)


def _ends(connection: Connection) -> tuple[str, str]:
    return connection.source_kme_id, connection.target_kme_id
