"""What a KME knows about SAEs, links and connections, in Postgres. Blocks and batches: `kme.block_records`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from psycopg2.extras import Json

from kme.audit_chain import Entry
from kme.database import Database, Transaction
from kme.errors import Conflict
from kme.model import Connection, Link, Sae, SaeLimits

_CONNECTION_COLUMNS = (
    "source_kme_id",
    "target_kme_id",
    "master_sae_id",
    "slave_sae_id",
    "key_size_bits",
    "max_key_count",
    "max_key_per_request",
    "max_sae_id_count",
    "qos",
)
_STATE_COLUMNS = (*_CONNECTION_COLUMNS, "suspended", "removed", "revision", "revised_by")


class Records:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self) -> None:
        with self._database.transaction() as sql:
            sql.execute("SELECT 1 FROM sae LIMIT 1")

    def set_links(self, links: Iterable[Link]) -> None:
        with self._database.transaction() as sql:
            for link in links:
                sql.execute(
                    "INSERT INTO link (name, peer_kme_id) VALUES (%s, %s)"
                    " ON CONFLICT (name) DO UPDATE SET peer_kme_id = excluded.peer_kme_id",
                    (link.name, link.peer_kme_id),
                )

    def add_sae(self, sae_id: str, again: bool = True) -> bool:
        """Whether it is new. One that was removed is registered anew, unless not `again`."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO sae (sae_id) VALUES (%s) ON CONFLICT (sae_id) DO UPDATE"
                " SET removed = false, suspended = false, limits = '{}', registered_at = now()"
                " WHERE sae.removed AND %s",
                (sae_id, again),
            )
            is_new = bool(sql.rowcount)
            if is_new:
                write_audit(sql, "sae_registered", {"sae_id": sae_id})
            return is_new

    def has_sae(self, sae_id: str) -> bool:
        with self._database.transaction() as sql:
            sql.execute("SELECT 1 FROM sae WHERE sae_id = %s AND NOT removed", (sae_id,))
            return sql.fetchone() is not None

    def saes(self) -> list[Sae]:
        with self._database.transaction() as sql:
            sql.execute("SELECT sae_id, suspended, limits FROM sae WHERE NOT removed ORDER BY sae_id")
            return [sae_of(row) for row in sql.fetchall()]

    def kmes_of_sae(self, sae_id: str) -> set[str]:
        """Where an SAE lives, as far as connections tell."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT source_kme_id AS kme_id FROM connection WHERE master_sae_id = %s AND NOT removed"
                " UNION SELECT target_kme_id FROM connection WHERE slave_sae_id = %s AND NOT removed",
                (sae_id, sae_id),
            )
            return {row["kme_id"] for row in sql.fetchall()}

    def add_connection(self, connection: Connection) -> bool:
        """Whether it is new. Raises Conflict where the same SAEs are connected otherwise, or were, and the offered
        state is not later than that."""
        with self._database.transaction() as sql:
            if insert_connection(sql, connection):
                return True
            known = locked(sql, connection.connection_id)
            if known.removed and connection.supersedes(known):
                write_state(sql, connection, told=True)
                write_audit(sql, "connection_registered", who(connection))
                return True
            refuse_contradiction(known, connection)
            return False

    def connection_between(self, master_sae_id: str, slave_sae_id: str) -> Connection | None:
        """Also one that was removed, as it was then."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT * FROM connection WHERE master_sae_id = %s AND slave_sae_id = %s",
                (master_sae_id, slave_sae_id),
            )
            row = sql.fetchone()
            return connection_of(row) if row else None

    def connections(self) -> list[Connection]:
        with self._database.transaction() as sql:
            sql.execute("SELECT * FROM connection WHERE NOT removed ORDER BY registered_at, connection_id")
            return [connection_of(row) for row in sql.fetchall()]


def refuse_contradiction(known: Connection, offered: Connection) -> None:
    """Raises Conflict naming the first member that differs, with both values; or where the known one was removed."""
    if known.removed:
        raise Conflict(
            f"the connection from {known.master_sae_id} to {known.slave_sae_id} was removed with revision"
            f" {known.revision}: register it anew with an operator of the KME that says so"
        )
    for name in _CONNECTION_COLUMNS:
        ours, theirs = getattr(known, name), getattr(offered, name)
        if ours != theirs:
            raise Conflict(
                f"{known.master_sae_id} and {known.slave_sae_id} are already connected with another {name}:"
                f" {_shown(ours)}, not {_shown(theirs)}"
            )


def _shown(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def connection_values(connection: Connection) -> dict[str, Any]:
    """Its columns, but for those that say what became of its last change."""
    values = {name: getattr(connection, name) for name in _STATE_COLUMNS}
    return values | {"qos": Json(dict(connection.qos)), "connection_id": connection.connection_id}


def insert_connection(sql: Any, connection: Connection) -> bool:
    """Whether there was none of these SAEs. The other KME knows it: it was told first, or reads the same topology."""
    values = connection_values(connection) | {"told_revision": connection.revision}
    sql.execute(
        f"INSERT INTO connection ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})"
        " ON CONFLICT (master_sae_id, slave_sae_id) DO NOTHING",
        [*values.values()],
    )
    if sql.rowcount:
        write_audit(sql, "connection_registered", who(connection))
    return bool(sql.rowcount)


def write_state(sql: Any, connection: Connection, *, told: bool) -> None:
    """Replaces a connection's row. `told`: the other KME knows this state, since it comes from there."""
    values = connection_values(connection)
    columns = ", ".join(f"{name} = %s" for name in values)
    sql.execute(
        f"UPDATE connection SET {columns}, told_revision = coalesce(%s, told_revision) WHERE connection_id = %s",
        [*values.values(), connection.revision if told else None, connection.connection_id],
    )


def connection_of(row: Mapping[str, Any]) -> Connection:
    return Connection(**{name: row[name] for name in _STATE_COLUMNS})


def sae_of(row: Mapping[str, Any]) -> Sae:
    return Sae(row["sae_id"], row["suspended"], SaeLimits(**row["limits"]))


def write_audit(sql: Transaction, event: str, detail: dict[str, Any]) -> None:
    """Appended to the audit trail at the end of the transaction, in it."""
    sql.entries.append(Entry(event, detail))


def locked(sql: Any, connection_id: UUID) -> Connection | None:
    """The connection, removed or not; nobody else changes it until the end of the transaction."""
    sql.execute("SELECT * FROM connection WHERE connection_id = %s FOR UPDATE", (connection_id,))
    row = sql.fetchone()
    return connection_of(row) if row else None


def who(connection: Connection) -> dict[str, Any]:
    """What the audit trail says of a connection."""
    saes = {"master_sae_id": connection.master_sae_id, "slave_sae_id": connection.slave_sae_id}
    return {"connection_id": str(connection.connection_id), **saes, "revision": connection.revision}
