"""Postgres: a pool of connections, one transaction at a time on each, and one error where it does not answer."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
from psycopg2.pool import ThreadedConnectionPool

from kme.audit_chain import Entry, append
from kme.errors import NotPrepared, Unavailable

psycopg2.extras.register_uuid()

# A little longer than statements may take: a server that is there ends them itself.
ANSWER_WITHIN_S = 7.0
# How long Postgres keeps the locks of a process that was cut off from it in the middle of a transaction.
SILENCE_IN_TRANSACTION_MS = 10_000


def _wait_in_time(connection: Any) -> None:
    """libpq itself waits without an end for a server that hangs, or that has vanished without a word."""
    until = time.monotonic() + ANSWER_WITHIN_S
    while (wanted := connection.poll()) != psycopg2.extensions.POLL_OK:
        ready = select.poll()
        ready.register(
            connection.fileno(), select.POLLIN if wanted == psycopg2.extensions.POLL_READ else select.POLLOUT
        )
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            raise psycopg2.OperationalError(f"no answer within {ANSWER_WITHIN_S:.0f} s")


psycopg2.extensions.set_wait_callback(_wait_in_time)  # of every connection of the process


class Transaction(psycopg2.extras.RealDictCursor):
    """A cursor. `entries`: what is appended to the audit trail at the end, so that act and entry are one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries: list[Entry] = []


class Database:
    """`size` is the number of threads that may use it at once; the pool is made at first use, so it may start down.
    `audit_key` is that of the audit trail's chain."""

    def __init__(self, dsn: str, size: int = 8, timeout_s: int = 5, *, audit_key: bytes) -> None:
        self._dsn = dsn
        self._audit_key = audit_key
        self._size = size
        self._timeout_s = timeout_s
        self._pool: ThreadedConnectionPool | None = None
        self._making = threading.Lock()
        self._free = threading.BoundedSemaphore(size)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor whose statements are committed together at the end, or not at all.

        Raises Unavailable where Postgres does not answer; whether a commit that was cut off took place is then unknown.
        """
        if not self._free.acquire(timeout=self._timeout_s):
            raise Unavailable("Postgres: all connections of this process are busy")
        try:
            pool, connection = self._begun()
            try:
                with connection.cursor(cursor_factory=Transaction) as cursor:
                    yield cursor
                    if cursor.entries:
                        append(cursor, self._audit_key, cursor.entries)
                    cursor.execute("COMMIT")
                    if cursor.statusmessage != "COMMIT":  # Postgres says ROLLBACK, which is no error to it
                        raise psycopg2.errors.InFailedSqlTransaction("a statement of it had failed: nothing is written")
            except BaseException as error:
                _end(connection, error)
                raise
            finally:
                pool.putconn(connection, close=bool(connection.closed))
        except psycopg2.errors.UndefinedTable:
            raise NotPrepared("Postgres: the tables are not there yet, the scheduler makes them at its start") from None
        except psycopg2.Error as error:
            if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or _is_garbled(error):
                raise Unavailable(f"Postgres does not answer: {_first_line(error)}") from None
            raise
        finally:
            self._free.release()

    def close(self) -> None:
        with self._making:
            if self._pool:
                self._pool.closeall()
                self._pool = None

    def _begun(self) -> tuple[ThreadedConnectionPool, Any]:
        """A connection with a transaction, which shows that it answers: after a restart of Postgres every pooled one is
        dead, which shows only on use. (psycopg2 itself would begin with the first statement, too late for another.)"""
        for _ in range(2):
            pool = self._made()
            connection = pool.getconn()
            try:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                return pool, connection
            except psycopg2.Error:
                pool.putconn(connection, close=True)
                self._leave(pool)
        raise Unavailable("Postgres does not answer: new connections are cut off, too")

    def _leave(self, pool: ThreadedConnectionPool) -> None:
        """No more of its connections: where one is dead, each of the others may cost the whole time to find out.
        Those that are in use end with their transactions."""
        with self._making:
            if self._pool is pool:
                self._pool = None

    def _made(self) -> ThreadedConnectionPool:
        if not self._making.acquire(timeout=self._timeout_s):
            raise Unavailable("Postgres does not answer: another thread is still trying to reach it")
        try:
            if self._pool is None:
                pool = ThreadedConnectionPool(
                    1,
                    self._size,
                    self._dsn,
                    connect_timeout=self._timeout_s,
                    options=f"-c statement_timeout={self._timeout_s * 1000}"
                    f" -c idle_in_transaction_session_timeout={SILENCE_IN_TRANSACTION_MS}",
                )
                # Others are made when a thread needs one. psycopg2's pool closes what comes back above minconn.
                pool.minconn = self._size
                self._pool = pool
            return self._pool
        finally:
            self._making.release()


def _end(connection: Any, error: BaseException) -> None:
    """Of a transaction that did not come through: nothing of it is left, or the connection is not used again."""
    try:
        if not _is_garbled(error):
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
            return
    except psycopg2.Error:
        pass
    connection.close()


def _is_garbled(error: BaseException) -> bool:
    """What came is not Postgres' protocol, for which psycopg2 has no class of its own."""
    return type(error) is psycopg2.DatabaseError


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
