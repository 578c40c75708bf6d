"""What a KME knows about SAEs, links and connections, in Postgres. Blocks and batches: `kme.block_records`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg2.extras import Json

from kme.database import Database
from kme.errors import Conflict
from kme.model import Connection, Link

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

    def add_sae(self, sae_id: str) -> bool:
        """Whether it is new."""
        with self._database.transaction() as sql:
            sql.execute("INSERT INTO sae (sae_id) VALUES (%s) ON CONFLICT DO NOTHING", (sae_id,))
            if sql.rowcount:
                _audit(sql, "sae_registered", {"sae_id": sae_id})
            return bool(sql.rowcount)

    def has_sae(self, sae_id: str) -> bool:
        with self._database.transaction() as sql:
            sql.execute("SELECT 1 FROM sae WHERE sae_id = %s", (sae_id,))
            return sql.fetchone() is not None

    def saes(self) -> list[str]:
        with self._database.transaction() as sql:
            sql.execute("SELECT sae_id FROM sae ORDER BY sae_id")
            return [row["sae_id"] for row in sql.fetchall()]

    def kmes_of_sae(self, sae_id: str) -> set[str]:
        """Where an SAE lives, as far as connections tell."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT source_kme_id AS kme_id FROM connection WHERE master_sae_id = %s"
                " UNION SELECT target_kme_id FROM connection WHERE slave_sae_id = %s",
                (sae_id, sae_id),
            )
            return {row["kme_id"] for row in sql.fetchall()}

    def add_connection(self, connection: Connection) -> bool:
        """Whether it is new. Raises Conflict where the same SAEs are connected otherwise."""
        values = {name: getattr(connection, name) for name in _CONNECTION_COLUMNS}
        values |= {"qos": Json(dict(connection.qos)), "connection_id": connection.connection_id}
        names = list(values)
        with self._database.transaction() as sql:
            sql.execute(
                f"INSERT INTO connection ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
                " ON CONFLICT (master_sae_id, slave_sae_id) DO NOTHING",
                [values[name] for name in names],
            )
            if sql.rowcount:
                _audit(sql, "connection_registered", {"connection_id": str(connection.connection_id)})
                return True
            sql.execute(
                "SELECT * FROM connection WHERE master_sae_id = %s AND slave_sae_id = %s",
                (connection.master_sae_id, connection.slave_sae_id),
            )
            refuse_contradiction(_connection(sql.fetchone()), connection)
            return False

    def connection_between(self, master_sae_id: str, slave_sae_id: str) -> Connection | None:
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT * FROM connection WHERE master_sae_id = %s AND slave_sae_id = %s",
                (master_sae_id, slave_sae_id),
            )
            row = sql.fetchone()
            return _connection(row) if row else None

    def connections(self) -> list[Connection]:
        with self._database.transaction() as sql:
            sql.execute("SELECT * FROM connection ORDER BY registered_at, connection_id")
            return [_connection(row) for row in sql.fetchall()]


def refuse_contradiction(known: Connection, offered: Connection) -> None:
    """Raises Conflict naming the first member that differs, with both values."""
    for name in _CONNECTION_COLUMNS:
        ours, theirs = getattr(known, name), getattr(offered, name)
        if ours != theirs:
            raise Conflict(
                f"{known.master_sae_id} and {known.slave_sae_id} are already connected with another {name}:"
                f" {_shown(ours)}, not {_shown(theirs)}"
            )


def _shown(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _connection(row: Mapping[str, Any]) -> Connection:
    return Connection(**{name: row[name] for name in _CONNECTION_COLUMNS})


def _audit(sql: Any, event: str, detail: dict[str, Any]) -> None:
    sql.execute("INSERT INTO audit (happened_at, event, detail) VALUES (now(), %s, %s)", (event, Json(detail)))
