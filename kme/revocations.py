"""Revoked certificates in the audit trail: each once, as soon as its authority's list is in force here."""

from __future__ import annotations

from collections.abc import Set

from kme.database import Database
from kme.records import write_audit


class RevocationRecords:
    """Made once per process; others may do the same at the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorded: set[tuple[str, int]] = set()

    def record(self, authority: str, serial_numbers: Set[int]) -> None:
        """All that `authority` has revoked. Raises Unavailable where Postgres does not answer: to be repeated."""
        new = {(authority, one) for one in serial_numbers} - self._recorded
        if not new:
            return
        with self._database.transaction() as sql:
            for _, serial_number in sorted(new):
                sql.execute(
                    "INSERT INTO revoked_certificate VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (authority, serial_number),
                )
                if sql.rowcount:
                    detail = {"authority": authority, "serial": f"{serial_number:x}"}
                    write_audit(sql, "certificate_revoked", detail)
        self._recorded |= new
