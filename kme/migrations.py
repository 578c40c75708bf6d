"""Versioned SQL migrations: `NNN_name.sql`, applied in order, each once and whole, by whichever process is first."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from kme.errors import KmeError, Unavailable

_LOCK = 0x716B642D  # one advisory lock for all KME processes of a site; any constant will do
_NAME = re.compile(r"(\d{3})_\w+\.sql")


class MigrationError(KmeError):
    """The folder and the database do not belong together."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_in(folder: Path) -> list[Migration]:
    """The folder's migrations in order. Raises MigrationError unless they are numbered 001, 002, ... without a gap."""
    paths = sorted(folder.glob("*.sql"))
    for number, path in enumerate(paths, 1):
        match = _NAME.fullmatch(path.name)
        if not match or int(match[1]) != number:
            raise MigrationError(f"{path}: expected a migration named {number:03d}_<name>.sql here")
    if not paths:
        raise MigrationError(f"{folder} holds no migrations")
    return [Migration(number, path.name, path.read_text("utf-8")) for number, path in enumerate(paths, 1)]


def migrate(dsn: str, folder: Path) -> int:
    """Brings the database to the newest version and returns it. Raises Unavailable where Postgres does not answer."""
    migrations = migrations_in(folder)
    try:
        connection = psycopg2.connect(dsn, connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise Unavailable(f"Postgres does not answer: {str(error).strip().splitlines()[0]}") from None
    try:
        with connection, connection.cursor() as cursor:
            # Held until the transaction ends: of several processes that start at once, one works and the others wait.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY, name text NOT NULL,"
                " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            cursor.execute("SELECT version, checksum FROM schema_version")
            applied = dict(cursor.fetchall())
            _check(applied, migrations)
            for migration in migrations:
                if migration.version not in applied:
                    cursor.execute(migration.sql)
                    cursor.execute(
                        "INSERT INTO schema_version (version, name, checksum) VALUES (%s, %s, %s)",
                        (migration.version, migration.name, migration.checksum),
                    )
        return migrations[-1].version
    finally:
        connection.close()


def _check(applied: dict[int, str], migrations: list[Migration]) -> None:
    if max(applied, default=0) > len(migrations):
        raise MigrationError(f"the database is at version {max(applied)}, newer than this program's {len(migrations)}")
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.name} was changed after it had been applied: add a new migration instead")
