"""Stores that hang, vanish without a word or send nonsense: 503 in time, and back when they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from kme import database as kme_database
from kme.database import Database
from kme.errors import Unavailable
from kme.keystore import KeyStore

from detours import Proxy

DB = Path(__file__).parents[3] / "db"
# Not `duplicate`: a second copy of an answer is taken for the next one's, and TCP never makes one (docs/chaos.md).
DISTURBED = ["garble", "truncate", "refuse"]


@pytest.fixture
def quick(monkeypatch) -> float:
    monkeypatch.setattr(kme_database, "ANSWER_WITHIN_S", 0.5)
    return 0.5


@pytest.fixture
def proxied(databases, quick) -> Iterator[tuple[Proxy, Database]]:
    """Postgres behind a proxy, and a pool of three connections that are open."""
    where = psycopg2.extensions.parse_dsn(databases["kme_a"])
    proxy = Proxy(lambda: (where["host"], int(where["port"])), seed=1)
    dsn = psycopg2.extensions.make_dsn(databases["kme_a"], host="127.0.0.1", port=proxy.port)
    database = Database(dsn, size=3, audit_key=bytes(32))
    assert answers(database)
    yield proxy, database
    database.close()
    proxy.close()


def answers(database: Database) -> bool:
    try:
        with database.transaction() as sql:
            sql.execute("SELECT repeat('x', 100000) AS text")
            return len(sql.fetchone()["text"]) == 100_000
    except Unavailable:
        return False


@pytest.mark.parametrize("mode", ["stall", "half-open"])
def test_a_postgres_that_hangs_is_unavailable_in_time(proxied, quick, mode):
    proxy, database = proxied
    proxy.set(mode)
    began = time.monotonic()
    assert not answers(database)
    assert time.monotonic() - began < 10 * quick


def test_connections_that_are_dead_without_a_word_cost_one_wait_and_not_one_each(proxied, monkeypatch):
    proxy, database = proxied
    monkeypatch.setattr(kme_database, "ANSWER_WITHIN_S", 3.0)
    proxy.set("half-open")
    proxy.set("pass")  # what was open stays dead
    began = time.monotonic()
    assert answers(database)
    assert time.monotonic() - began < 2 * 3.0


@pytest.mark.parametrize("mode", DISTURBED)
def test_a_postgres_that_sends_nonsense_is_unavailable_and_then_back(proxied, mode):
    proxy, database = proxied
    proxy.set(mode)
    while answers(database):
        pass  # the proxy strikes at half of what passes, as its seed has it
    proxy.set("pass")
    assert answers(database)


@pytest.mark.parametrize("mode", DISTURBED)
def test_nonsense_in_the_middle_of_a_transaction_is_unavailable_and_then_back(proxied, mode):
    proxy, database = proxied
    with pytest.raises(Unavailable), database.transaction() as sql:
        proxy.set(mode)
        while True:
            sql.execute("SELECT repeat('x', 100000)")
    proxy.set("pass")
    assert answers(database)


def test_a_message_of_no_kind_in_the_middle_of_a_transaction_is_unavailable_and_then_back(proxied):
    proxy, database = proxied
    with pytest.raises(Unavailable), database.transaction() as sql:
        proxy.say(b"\1\0\0\0\4")
        sql.execute("SELECT 1")
    assert answers(database)


@pytest.mark.parametrize("mode", ["garble", "truncate", "refuse", "half-open"])
def test_a_redis_that_sends_nonsense_is_unavailable_and_then_back(redis_urls, mode):
    url = urlsplit(redis_urls["kme-a"])
    proxy = Proxy(lambda: (url.hostname, url.port), seed=1)
    store = KeyStore(redis_urls["kme-a"].replace(f"{url.hostname}:{url.port}", f"127.0.0.1:{proxy.port}"),
                     DB / "lua", timeout_s=0.5)  # fmt: skip
    store.account()
    proxy.set(mode)
    with pytest.raises(Unavailable):
        while True:
            store.account()
    proxy.set("pass")
    until = time.monotonic() + 5
    while True:
        try:
            assert store.account()["received"] >= 0
            break
        except Unavailable:
            assert time.monotonic() < until
    store.close()
    proxy.close()


def test_a_redis_that_hangs_in_a_script_is_unavailable_in_time(redis_urls):
    url = urlsplit(redis_urls["kme-a"])
    proxy = Proxy(lambda: (url.hostname, url.port), seed=1)
    store = KeyStore(redis_urls["kme-a"].replace(f"{url.hostname}:{url.port}", f"127.0.0.1:{proxy.port}"),
                     DB / "lua", timeout_s=0.5)  # fmt: skip
    store.clocks_ms()
    proxy.set("half-open")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        store.clocks_ms()
    assert time.monotonic() - began < 5
    store.close()
    proxy.close()
