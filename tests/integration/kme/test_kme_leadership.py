"""One scheduler of a KME works at a time, on a real Postgres; a second takes over, and the first can't write then."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import psycopg2
import pytest

from kme.errors import Unavailable
from kme.leadership import _LOCK as LEADERSHIP
from kme.leadership import FencedDatabase, Leadership, NotLeading
from kme.web.operator import health_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity

from kme_steps import filled, last_batch, link


@pytest.fixture
def two(network, databases):
    """The one scheduler of a that works, and a second one of the same KME."""
    dsn = databases["kme_a"]
    second = network.a.entity.scheduler(
        network.qkde.at("kme-a"), clock=lambda: network.a.clock[0], start_round=lambda work: work(), interval_s=0.01
    )
    yield network.a.scheduler, second, dsn
    second.resign()


def kill_leader(dsn):
    """Ends the connection that holds the lock, as a network failure or Postgres itself would."""
    with psycopg2.connect(dsn) as connection, connection.cursor() as sql:
        sql.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND objid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (LEADERSHIP,),
        )
        count = len(sql.fetchall())
    connection.close()
    return count


def health(scheduler):
    app = health_app("scheduler", scheduler.check, scheduler.duty)
    return app.test_client().get("/healthz", environ_overrides={CALLER: Identity("probe", "probe")})


def test_only_the_first_works_and_the_second_takes_over_when_it_resigns(network, two):
    first, second, _ = two
    first.step()
    orders = list(network.qkde.orders)
    second.step()
    assert orders and network.qkde.orders == orders
    assert (first.duty(), second.duty()) == ({"scheduler": "in office"}, {"scheduler": "standing by"})
    first.resign()
    second.step()
    assert second.duty() == {"scheduler": "in office"}
    first.step()
    assert first.duty() == {"scheduler": "standing by"}


def test_a_leader_whose_connection_ended_can_write_nothing_once_another_is_in_office(network, two):
    first, second, dsn = two
    first.step()
    assert kill_leader(dsn) == 1
    second.step()
    assert second.duty() == {"scheduler": "in office"}
    assert first.duty() == {"scheduler": "in office"}  # paused since: it does not know yet
    owner = first._keepers[0].owner
    block = network.a.entity.block_records.blocks_of("kme-a", "a-b", "confirmed")[0]
    before = network.a.entity.block_records.block(block.block_id)
    writes = {
        "record_batch": lambda: owner.batches.fill(
            network.a.entity.catalogue.between("sae-a", "sae-b"), link(network), network.a.peers["kme-b"], 256, 1
        ),
        "settle": lambda: owner.records.settle(block.block_id, "refused"),
        "start_closing": lambda: owner.records.start_closing("kme-a", "a-b", 10**6),
        "set_closed": lambda: owner.records.set_closed(block.block_id),
        "set_void": lambda: owner.records.set_void(block.block_id, "x"),
        "confirm": lambda: owner.records.set_confirmed(block.block_id),
        "void": lambda: owner.requests.start_voiding(block.block_id),
        "report": lambda: first._keepers[0]._rounds._reports.add(block.block_id, "a-b", {}),
        "audit": first._audit._database.transaction().__enter__,
    }
    for name, write in writes.items():
        with pytest.raises(NotLeading):
            write()
            pytest.fail(f"{name} was written")
    assert network.a.entity.block_records.block(block.block_id) == before
    with pytest.raises(Unavailable):
        first.step()  # it looks, and finds out
    assert first.duty() == {"scheduler": "standing by"}


def test_a_leader_that_is_paused_in_the_middle_of_a_fill_leaves_its_batch_to_the_next(network, two):
    first, second, dsn = two
    first.step()
    first.step()
    peer, real = network.a.peers["kme-b"], network.a.peers["kme-b"].request
    paused = []

    def pause(method, path, **options):
        if path == "/v1/batches" and not paused:
            paused.append(path)
            kill_leader(dsn)
            second.step()
        return real(method, path, **options)

    peer.request = pause
    with pytest.raises(NotLeading):
        first._keepers[0].owner.batches.fill(
            network.a.entity.catalogue.between("sae-a", "sae-b"), link(network), peer, 256, 3
        )
    assert paused and second.duty() == {"scheduler": "in office"}
    second.step()
    assert not network.a.entity.block_records.unsettled("a-b")
    network.assert_account_adds_up()


def test_a_transaction_of_the_leader_is_over_before_another_takes_office(network, databases):
    old, new = Leadership(databases["kme_a"]), Leadership(databases["kme_a"])
    try:
        assert old.hold()
        taken = threading.Event()

        def take():
            while not new.hold():
                pass
            taken.set()

        with FencedDatabase(network.a.entity.database, old).transaction() as sql:
            sql.execute("INSERT INTO sae (sae_id) VALUES ('written')")
            kill_leader(databases["kme_a"])
            thread = threading.Thread(target=take)
            thread.start()
            assert not taken.wait(0.3)
        assert taken.wait(5)
        thread.join()
        assert new.term == old.term + 1
        assert network.a.entity.records.has_sae("written")
    finally:
        old.resign()
        new.resign()


def test_a_step_that_finds_nothing_to_do_writes_nothing(network, monkeypatch):
    """Where a transaction writes, if only the lock of a row, Postgres counts one up and writes to disk."""
    database = network.a.entity.database
    network.step_until(lambda: network.a.entity.pool_count(network.a.entity.catalogue.between("sae-a", "sae-b")) == 20)
    for _ in range(3):
        network.a.scheduler.step()  # what came last is noted
    written, real = [], database.transaction

    @contextmanager
    def looked_at():
        with real() as sql:
            yield sql
            sql.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS written")
            written.append(sql.fetchone()["written"])

    monkeypatch.setattr(database, "transaction", looked_at)
    network.a.scheduler.step()
    assert written and not any(written)
    with database.transaction() as sql:
        sql.execute("SELECT 1 FROM link FOR SHARE")
    assert written[-1]


def test_a_second_process_takes_over_within_seconds_when_the_first_ones_connection_ends(network, two):
    network.a.scheduler.resign()
    schedulers = [
        network.a.entity.scheduler(network.qkde.at("kme-a"), start_round=lambda work: work(), interval_s=0.05)
        for _ in range(2)
    ]
    stops = [threading.Event(), threading.Event()]
    threads = [threading.Thread(target=one.run, args=(stop,)) for one, stop in zip(schedulers, stops, strict=True)]
    try:
        for thread in threads:
            thread.start()
        assert until(lambda: sorted(duties(schedulers)) == ["in office", "standing by"])
        assert [health(one).status_code for one in schedulers] == [200, 200]
        shown = {health(one).get_json()["scheduler"] for one in schedulers}
        assert shown == {"in office", "standing by"}
        leader = duties(schedulers).index("in office")
        stops[leader].set()
        threads[leader].join(10)
        assert until(lambda: duties(schedulers)[1 - leader] == "in office", 5)
        pool = network.a.sae("sae-a")
        assert until(lambda: pool.get("/api/v1/keys/sae-b/status").get_json()["stored_key_count"] == 20)
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join()


def duties(schedulers):
    return [one.duty()["scheduler"] for one in schedulers]


def until(condition, within_s=20.0) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.02)
    return True


def test_the_lock_is_given_up_where_postgres_hears_nothing(network, databases, monkeypatch):
    """As of a process that is stopped: its connection stays open, but nothing comes."""
    monkeypatch.setattr("kme.leadership._SILENCE_MS", 1_000)
    silent, other = Leadership(databases["kme_a"]), Leadership(databases["kme_a"])
    try:
        assert silent.hold() and not other.hold()
        assert until(other_holds(other))
        assert other.term == silent.term + 1
    finally:
        silent.resign()
        other.resign()


def other_holds(leadership):
    def holds():
        try:
            return leadership.hold()
        except Unavailable:  # its own connection was silent for too long between two looks
            return False

    return holds


def test_keys_are_cut_on_demand_by_requests_without_a_scheduler_in_office(network):
    filled(network)
    network.a.scheduler.resign()
    answer = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"size": 512})
    assert answer.status_code == 200
    assert last_batch(network)["key_size_bits"] == 512
