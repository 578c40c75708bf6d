"""Which key files were read, and how far, in Postgres: a name is read once, and so are contents, whatever restarts."""

from __future__ import annotations

from dataclasses import dataclass

from kme.database import Database


@dataclass(frozen=True)
class KeyFile:
    """`digest` is keyed (`KeyRing.digest`); `read_bytes` from the file's beginning are in the key store."""

    link: str
    name: str
    digest: bytes
    length_bytes: int
    read_bytes: int = 0
    is_read: bool = False


class KeyFiles:
    """Every method is one transaction and raises Unavailable where Postgres does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, file: KeyFile) -> KeyFile:
        """The file as it is known: this one, or the one that was begun with its name or contents before."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO key_file (link, name, digest, length_bytes) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (file.link, file.name, file.digest, file.length_bytes),
            )
            sql.execute(
                "SELECT link, name, digest, length_bytes, read_bytes, is_read FROM key_file"
                " WHERE link = %s AND name = %s OR digest = %s ORDER BY (link = %s AND name = %s) DESC LIMIT 1",
                (file.link, file.name, file.digest, file.link, file.name),
            )
            row = sql.fetchone()
            return KeyFile(**row | {"digest": bytes(row["digest"])})

    def advance(self, file: KeyFile, read_bytes: int) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE key_file SET read_bytes = greatest(read_bytes, %s) WHERE link = %s AND name = %s",
                (read_bytes, file.link, file.name),
            )

    def finish(self, file: KeyFile) -> None:
        with self._database.transaction() as sql:
            sql.execute("UPDATE key_file SET is_read = true WHERE link = %s AND name = %s", (file.link, file.name))

    def totals(self, link: str) -> dict[str, int]:
        """How many files of a link were read and how many of their bytes were taken in."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT count(*) FILTER (WHERE is_read) AS files_read,"
                " coalesce(sum(read_bytes), 0)::bigint AS bytes_read FROM key_file WHERE link = %s",
                (link,),
            )
            return dict(sql.fetchone())
