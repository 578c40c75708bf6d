"""The stores of a KME: migrations, stores that do not answer, another key-encryption key."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

from kme.database import Database
from kme.entity import Entity
from kme.errors import Unavailable
from kme.migrations import MigrationError, migrate, migrations_in
from kme.model import KmeSettings, Link
from kme.web.operator import health_app, operator_app
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity

DB = Path(__file__).parents[3] / "db"


@pytest.fixture
def fresh_dsn(postgres_dsn):
    admin = psycopg2.connect(postgres_dsn)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS fresh")
        cursor.execute("CREATE DATABASE fresh")
    yield psycopg2.extensions.make_dsn(postgres_dsn, dbname="fresh")
    with admin.cursor() as cursor:
        cursor.execute("DROP DATABASE fresh WITH (FORCE)")
    admin.close()


def test_processes_that_start_at_once_migrate_the_database_once(fresh_dsn):
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda _: migrate(fresh_dsn, DB / "migrations"), range(4)))
    assert versions == [len(migrations_in(DB / "migrations"))] * 4


def test_later_migrations_are_added_to_what_is_there(fresh_dsn, tmp_path):
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one (n int)")
    assert migrate(fresh_dsn, tmp_path) == 1
    (tmp_path / "002_two.sql").write_text("ALTER TABLE one ADD COLUMN m int")
    assert migrate(fresh_dsn, tmp_path) == 2
    assert migrate(fresh_dsn, tmp_path) == 2


def test_a_migration_that_fails_leaves_nothing_behind(fresh_dsn, tmp_path):
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one (n int); SELECT nonsense")
    with pytest.raises(psycopg2.Error):
        migrate(fresh_dsn, tmp_path)
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one (n int)")
    assert migrate(fresh_dsn, tmp_path) == 1


def test_a_changed_migration_and_a_newer_database_are_refused(fresh_dsn, tmp_path):
    (tmp_path / "001_one.sql").write_text("CREATE TABLE one (n int)")
    (tmp_path / "002_two.sql").write_text("CREATE TABLE two (n int)")
    migrate(fresh_dsn, tmp_path)
    (tmp_path / "002_two.sql").unlink()
    with pytest.raises(MigrationError, match="version 2, newer"):
        migrate(fresh_dsn, tmp_path)
    (tmp_path / "002_two.sql").write_text("CREATE TABLE three (n int)")
    with pytest.raises(MigrationError, match="002_two.sql was changed"):
        migrate(fresh_dsn, tmp_path)


def test_a_gap_in_the_numbers_of_migrations_is_refused(tmp_path):
    (tmp_path / "002_two.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="001_"):
        migrate("host=nowhere", tmp_path)


def kme(dsn, url, kek=None):
    settings = KmeSettings("kme-a", "a", "qkde-a", (Link("a-b", "kme-b"),))
    return Entity(settings, postgres_dsn=dsn, redis_url=url, kek=kek or secrets.token_bytes(32), db=DB, peers={})


NO_POSTGRES = "host=/nonexistent user=x dbname=x"
NO_REDIS = "unix:///nonexistent/redis.sock"


def get(app, path, identity):
    return app.test_client().get(path, environ_overrides={CALLER: identity})


def test_stores_that_do_not_answer_give_503_with_a_message_that_names_them(databases, redis_url):
    operator, sae = Identity("operator", "op"), Identity("sae", "sae-a")
    for entity, named in (
        (kme(NO_POSTGRES, f"{redis_url}?db=1"), "Postgres"),
        (kme(databases["kme_a"], NO_REDIS), "Redis"),
    ):
        with pytest.raises(Unavailable, match=named):
            entity.prepare(["sae-a"])
        health = get(operator_app(entity), "/healthz", operator)
        assert health.status_code == 503
        assert named in health.get_json()["message"]
        entity.close()
    answer = get(sae_app(kme(NO_POSTGRES, NO_REDIS).delivery), "/api/v1/keys/x/status", sae)
    assert answer.status_code == 503 and answer.headers["Retry-After"]


def test_a_database_without_tables_is_said_to_be_so(fresh_dsn, redis_url):
    entity = kme(fresh_dsn, f"{redis_url}?db=3")
    health = get(operator_app(entity), "/healthz", Identity("operator", "op"))
    assert (health.status_code, health.get_json()["status"]) == (503, "failing")
    assert "tables are not there yet" in health.get_json()["message"]
    entity.close()


def test_a_block_that_comes_before_the_links_are_recorded_is_asked_for_again(network):
    """At the first start: the scheduler has made the tables, and records the links in its next transaction."""
    with network.a.entity.database.transaction() as sql:
        sql.execute("DELETE FROM link")
    block_id, bits = uuid4(), bytes(1000)
    answer = network.a.hand_over(block_id, "kme-a", bits)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert "link a-b is not there yet" in answer.get_json()["message"]
    network.a.entity.prepare()
    assert network.a.hand_over(block_id, "kme-a", bits).status_code == 204


def test_a_healthy_kme_says_ok_to_a_probe_and_nothing_else(network):
    app = network.a.apps["operator"]
    probe = Identity("probe", "probe")
    assert get(app, "/healthz", probe).get_json() == {"status": "ok"}
    assert get(app, "/v1/status", probe).status_code == 401
    assert get(health_app("other", lambda: None), "/healthz", Identity("sae", "sae-a")).status_code == 401


def test_another_key_encryption_key_than_the_stores_is_refused_at_start(network, make_site):
    other = make_site("kme-a", kek=b"k" * 32)
    with pytest.raises(Unavailable, match="another key-encryption key|was encrypted under key-encryption key"):
        other.entity.prepare()
    health = get(other.apps["operator"], "/healthz", Identity("operator", "op"))
    assert health.status_code == 503 and "key-encryption key" in health.get_json()["message"]


@pytest.mark.parametrize("layout", [None, b"1", b"3"])
def test_keys_that_another_version_has_stored_are_left_alone_and_a_kme_says_what_to_do(network, make_site, layout):
    store = network.a.entity.keystore._redis
    store.delete("layout")
    if layout is not None:
        store.set("layout", layout)
    pools = {name: store.lrange(name, 0, -1) for name in store.scan_iter("pool:*")}
    with pytest.raises(Unavailable, match="another version of this software.*: empty it"):
        make_site("kme-a").entity.prepare()
    assert store.get("layout") == layout
    assert {name: store.lrange(name, 0, -1) for name in store.scan_iter("pool:*")} == pools


def test_the_database_recovers_when_its_connections_were_cut(databases):
    database = Database(databases["kme_a"], size=2, audit_key=b"")
    with database.transaction() as sql:
        sql.execute("SELECT pg_backend_pid() AS pid")
        pid = sql.fetchone()["pid"]
    admin = psycopg2.connect(databases["kme_b"])
    with admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'kme_a'")
    admin.close()
    with database.transaction() as sql:
        sql.execute("SELECT pg_backend_pid() AS pid")
        assert sql.fetchone()["pid"] != pid
    database.close()


def test_a_transaction_that_raises_changes_nothing(network):
    database = network.a.entity.database
    with pytest.raises(ZeroDivisionError), database.transaction() as sql:
        sql.execute("INSERT INTO sae (sae_id) VALUES ('ghost')")
        raise ZeroDivisionError
    assert not network.a.entity.records.has_sae("ghost")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, psycopg2.errors.DivisionByZero])
def test_the_next_transaction_on_a_connection_has_nothing_of_one_that_raised(databases, error):
    database = Database(databases["kme_a"], size=1, audit_key=b"")
    with pytest.raises(error), database.transaction() as sql:
        sql.execute("SET LOCAL lock_timeout = '7s'")
        sql.execute("SELECT pg_advisory_xact_lock(1)")
        sql.execute("SELECT 1 / 0" if error is psycopg2.errors.DivisionByZero else "SELECT 1")
        raise error
    with database.transaction() as sql:
        sql.execute("SELECT current_setting('lock_timeout') AS timeout, count(*) AS n FROM pg_locks"
                    " WHERE locktype = 'advisory' AND pid = pg_backend_pid()")  # fmt: skip
        assert dict(sql.fetchone()) == {"timeout": "0", "n": 0}
    database.close()


def test_a_transaction_of_which_a_statement_failed_does_not_end_as_if_it_was_written(databases):
    database = Database(databases["kme_a"], size=1, audit_key=b"")
    failed = psycopg2.errors.InFailedSqlTransaction
    with pytest.raises(failed), database.transaction() as sql, suppress(psycopg2.errors.DivisionByZero):
        sql.execute("SELECT 1 / 0")
    with database.transaction() as sql:
        sql.execute("SELECT 1")
    database.close()


def test_transactions_see_what_others_have_written_meanwhile_whatever_the_databases_default(fresh_dsn):
    """As the fence of who is in office needs it (kme/leadership.py)."""
    admin = psycopg2.connect(fresh_dsn)
    with admin, admin.cursor() as sql:
        sql.execute("ALTER DATABASE fresh SET default_transaction_isolation = 'repeatable read'")
    admin.close()
    database = Database(fresh_dsn, size=1, audit_key=b"")
    with database.transaction() as sql:
        for name, expected in (("default_transaction_isolation", "repeatable read"),
                               ("transaction_isolation", "read committed")):  # fmt: skip
            sql.execute("SELECT current_setting(%s) AS level", (name,))
            assert sql.fetchone()["level"] == expected
    database.close()


def test_a_transaction_is_two_messages_beside_its_statements(databases):
    """Each costs the scheduler, which has many transactions in each step, a change of process."""
    messages = []
    wait = psycopg2.extensions.get_wait_callback()
    database = Database(databases["kme_a"], size=1, audit_key=b"")
    with database.transaction():
        pass
    psycopg2.extensions.set_wait_callback(lambda connection: (messages.append(1), wait(connection)))
    try:
        with database.transaction() as sql:
            sql.execute("SELECT 1")
    finally:
        psycopg2.extensions.set_wait_callback(wait)
    assert len(messages) == 3
    database.close()


def test_more_threads_than_connections_wait_for_each_other(network):
    database = network.a.entity.database

    def count(_):
        with database.transaction() as sql:
            sql.execute("SELECT count(*) AS n FROM sae")
            return sql.fetchone()["n"]

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(count, range(64))) == {1}
