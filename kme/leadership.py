"""One scheduler of a KME works at a time: it holds a lock of Postgres, and every record it writes bears its number.

The lock (an advisory one) belongs to a connection of its own: when that ends, with its process or by itself, the lock
is free and another scheduler takes office within about a second. One that is paused would hold it on, hence Postgres
ends the connection when it hears nothing for some seconds. A leader that does not know yet that it is none can't do
harm: taking office counts a number up, and each transaction of the scheduler reads it first and fails if it is
another's (fencing; Kleppmann, "How to do distributed locking", 2016). It shares a second lock until its end, which is
needed alone to take office: nobody does in the middle of it. (A lock of the number's row would do, but is written to
disk, and most transactions only read.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
import psycopg2.errors

from kme.database import Database
from kme.errors import NotPrepared, Unavailable

log = logging.getLogger(__name__)

_LOCK = 0x716B6473  # any constant will do; each KME has a database of its own
_FENCE = 0x716B6466
_SILENCE_MS = 5_000


class NotLeading(Unavailable):
    """Another scheduler is, or may be, in office: nothing was written."""


class Leadership:
    """`hold` is called again and again, by one thread at a time; the rest from any."""

    def __init__(self, dsn: str, timeout_s: int = 5) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._connection: Any = None
        self._holding = threading.Lock()
        self.term: int | None = None  # the number under which this one is in office

    def hold(self) -> bool:
        """Whether this one is in office, after trying to be. Raises Unavailable where Postgres does not answer,
        NotPrepared where it has no tables (any more)."""
        with self._holding:
            try:
                self._connect()
                with self._connection.cursor() as sql:
                    if self.term is None:
                        self._take_office(sql)
                    else:
                        sql.execute("SELECT 1 FROM leadership WHERE term = %s", (self.term,))
                        if sql.fetchone() is None:  # restored from a backup: this number is nobody's now
                            self._lose()
            except psycopg2.errors.UndefinedTable:
                self._lose()
                raise NotPrepared("Postgres: the tables are gone") from None
            except psycopg2.Error as error:
                self._lose()
                raise Unavailable(f"Postgres does not answer: {type(error).__name__}") from None
            return self.term is not None

    def resign(self) -> None:
        """Lets another take over at once."""
        with self._holding:
            if self._connection is not None:
                # Not left to the end of the connection: Postgres notices that a moment later.
                with suppress(psycopg2.Error), self._connection.cursor() as sql:
                    sql.execute("SELECT pg_advisory_unlock_all()")
            self._lose()

    def check(self, sql: Any) -> None:
        """Within a transaction: it is committed under this one's number or not at all. Raises NotLeading."""
        # Two statements: the second sees, in READ COMMITTED, what was there once the first had the lock.
        sql.execute(
            "SELECT pg_advisory_xact_lock_shared(%s); SELECT 1 FROM leadership WHERE term = %s", (_FENCE, self.term)
        )
        if sql.fetchone() is None:
            raise NotLeading("another scheduler of this KME is in office")

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = psycopg2.connect(
                self._dsn, connect_timeout=self._timeout_s, options=f"-c statement_timeout={self._timeout_s * 1000}"
            )
            self._connection.autocommit = True
            with self._connection.cursor() as sql:
                sql.execute(f"SET idle_session_timeout = {_SILENCE_MS}")

    def _take_office(self, sql: Any) -> None:
        sql.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
        if sql.fetchone()[0]:
            # One transaction, as the connection commits whatever comes with one message.
            sql.execute(
                "SELECT pg_advisory_xact_lock(%s); UPDATE leadership SET term = term + 1 RETURNING term", (_FENCE,)
            )
            self.term = sql.fetchone()[0]
            log.info("this scheduler is in office now, number %d", self.term)

    def _lose(self) -> None:
        if self.term is not None:
            log.warning("this scheduler is not in office any more, number %d", self.term)
        self.term = None
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


class FencedDatabase(Database):
    """The database as the scheduler sees it: what it does not do in office, it does not do."""

    def __init__(self, database: Database, leadership: Leadership) -> None:
        self._database = database
        self._leadership = leadership

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """As `Database.transaction`; raises NotLeading too."""
        with self._database.transaction() as sql:
            self._leadership.check(sql)
            yield sql

    def close(self) -> None:
        self._database.close()
