"""The scheduler: it fills pools to their high watermark and stops, and comes back by itself after every trouble."""

from __future__ import annotations

import logging
import threading

import pytest

from kme.errors import Conflict, Unavailable
from kme.model import Connection, Link
from kme.pace import Pace
from kme.scheduler import Chore, Scheduler
from kme.web.operator import health_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity


def pools(network):
    statuses = [site.operator.get("/v1/status").get_json() for site in (network.a, network.b)]
    return [status["pools"][0]["stored_key_count"] for status in statuses]


def full(network):
    return pools(network) == [20, 20]


def take(network, count):
    for _ in range(count):
        assert network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys").status_code == 200


def test_pools_are_filled_to_the_high_watermark_and_then_no_more_is_ordered(network):
    network.step_until(lambda: full(network))
    network.step(3)
    ordered = len(network.qkde.orders)
    network.step(10)
    assert pools(network) == [20, 20]
    assert len(network.qkde.orders) == ordered
    network.assert_account_adds_up()


def test_a_pool_is_filled_again_only_below_its_low_watermark(network):
    network.step_until(lambda: full(network))
    take(network, 10)
    network.step(3)
    assert pools(network) == [10, 20]
    take(network, 1)
    network.step_until(lambda: full(network))


def test_a_round_that_gives_no_key_is_reported_and_tried_again_after_a_pause(network, caplog):
    network.qkde.abort_reason = "QBER 0.251 over the tolerance 0.05"
    with caplog.at_level(logging.WARNING):
        network.a.scheduler.step()
        network.a.scheduler.step()
    assert network.qkde.orders == ["kme-a"]
    assert [record.getMessage() for record in caplog.records] == [
        "link a-b: a round gave no key: QBER 0.251 over the tolerance 0.05"
    ]
    network.a.clock[0] += 0.5
    network.a.scheduler.step()
    assert network.qkde.orders == ["kme-a"] * 2
    (link,) = network.a.operator.get("/v1/status").get_json()["links"]
    assert link["last_reports"][0]["abort_reason"] == network.qkde.abort_reason
    network.qkde.abort_reason = None
    network.step_until(lambda: full(network))


def test_only_one_round_at_a_time_is_ordered_for_a_link(network):
    waiting = []
    scheduler = network.a.entity.scheduler(
        network.qkde.at("kme-a"), clock=lambda: network.a.clock[0], start_round=waiting.append
    )
    for _ in range(3):
        scheduler.step()
        network.a.clock[0] += 10
    assert len(waiting) == 1
    waiting.pop()()
    scheduler.step()
    scheduler.step()
    assert len(network.qkde.orders) == 1 and not waiting  # one block is enough for this pool


def test_pools_do_not_wait_for_a_block_of_which_the_other_qkde_died_with_its_half(network, monkeypatch):
    sites = network.qkde.sites
    monkeypatch.setattr(network.qkde, "sites", [network.a])
    network.a.scheduler.step()
    network.a.scheduler.step()
    assert network.qkde.orders == ["kme-a"], "a block that has just come is waited for"
    monkeypatch.setattr(network.qkde, "sites", sites)
    network.a.clock[0] += 5.0
    network.a.scheduler.step()
    assert network.qkde.orders == ["kme-a"] * 2
    network.step_until(lambda: full(network))
    network.assert_account_adds_up()


def test_pools_of_one_link_are_filled_alike_when_bits_are_scarce(network):
    for site, sae in ((network.a, "sae-c"), (network.b, "sae-d")):
        site.operator.post("/v1/saes", json={"sae_id": sae})
    members = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": "sae-c", "slave_SAE_ID": "sae-d"}
    network.a.operator.post("/register_connection", json=members | {"max_keys_count": 20})
    network.qkde.length_bits = 256 + 20 * 256
    network.a.scheduler.step()
    network.qkde.abort_reason = "no more"
    network.a.scheduler.step()
    stored = [one["stored_key_count"] for one in network.a.operator.get("/v1/status").get_json()["pools"]]
    assert stored == [10, 10]


def test_without_the_peer_it_says_so_once_and_goes_on_when_the_peer_is_back(network, caplog):
    network.a.peers["kme-b"].faults = ["refuse"] * 5
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            network.a.scheduler.step()
    assert sum("can't confirm" in record.getMessage() for record in caplog.records) == 1
    network.step_until(lambda: full(network))


def test_a_refused_batch_makes_its_pool_wait_and_burns_no_more_meanwhile(network, monkeypatch):
    network.a.scheduler.step()

    def refuse(*_):
        raise Conflict("for a reason")

    monkeypatch.setattr(network.b.entity.batch_peer, "commit", refuse)
    for _ in range(5):
        network.a.scheduler.step()
    assert network.a.entity.account().burned == 256 + 20 * 256
    monkeypatch.undo()
    network.step_until(lambda: full(network))
    network.assert_account_adds_up()


def test_it_waits_for_its_stores_and_then_runs_until_it_is_told_to_stop(network, caplog):
    stop, failures = threading.Event(), [Unavailable("Postgres does not answer: refused")] * 3

    def prepare():
        if failures:
            raise failures.pop()

    class Keeper:
        link = network.a.entity.settings.links[0]

        def step(self):
            stop.set()

    with caplog.at_level(logging.WARNING):
        Scheduler([Keeper()], network.a.entity.audit, prepare, lambda: None, pace=Pace(0.0)).run(stop)
    assert [record.getMessage() for record in caplog.records] == ["waiting: Postgres does not answer: refused"]


def test_what_a_link_did_not_foresee_does_not_stop_the_others(network):
    stop, steps = threading.Event(), []

    class Broken:
        link = network.a.entity.settings.links[0]

        def step(self):
            raise ZeroDivisionError

    class Working(Broken):
        def step(self):
            steps.append(1)
            if len(steps) == 3:
                stop.set()

    Scheduler([Broken(), Working()], network.a.entity.audit, lambda: None, lambda: None, pace=Pace(0.0)).run(stop)
    assert len(steps) == 3


def test_nothing_is_done_while_what_comes_first_fails(network):
    stop, trouble, done = threading.Event(), [Unavailable("the key store is another KME's")] * 3, []

    def compare():
        if trouble:
            raise trouble.pop()
        if done:
            stop.set()

    class Keeper:
        link = network.a.entity.settings.links[0]

        def step(self):
            done.append(len(trouble))

    one, ready = network.a.entity, lambda: None
    chore = Chore("chore", lambda: done.append(len(trouble)))
    scheduler = Scheduler(
        [Keeper()], one.audit, ready, ready, pace=Pace(0.001), first=Chore("first", compare), chores=[chore]
    )
    with pytest.raises(Unavailable):
        scheduler.step()
    assert not done
    scheduler.run(stop)
    assert set(done) == {0}


def test_a_topology_that_cannot_be_served_is_said_in_one_line(network, caplog):
    bad = Connection("kme-a", "kme-b", "sae-a", "sae-b", key_size_bits=100)
    stop, attempts = threading.Event(), []

    def prepare():
        attempts.append(1)
        if len(attempts) == 3:
            stop.set()
        network.a.entity.prepare(["sae-a"], [bad])

    scheduler = Scheduler([], network.a.entity.audit, prepare, lambda: None, pace=Pace(0.0))
    with caplog.at_level(logging.WARNING):
        scheduler.run(stop)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "key_size: expected a multiple of 8 in 8..4096, got 100" in line
    with pytest.raises(Unavailable, match="key_size: expected a multiple of 8"):
        scheduler.check()


def healthy(scheduler):
    """What the scheduler's health check says; None where all is well."""
    answer = (
        health_app("scheduler", scheduler.check)
        .test_client()
        .get("/healthz", environ_overrides={CALLER: Identity("probe", "probe")})
    )
    assert answer.status_code == (200 if answer.get_json() == {"status": "ok"} else 503)
    return answer.get_json().get("message")


class Watching:
    """A link's keeper that asks after the scheduler's health in every step, until `enough` is said or 1000 steps."""

    def __init__(self, link, enough, stop):
        self.link, self._enough, self._stop = link, enough, stop
        self.scheduler: Scheduler | None = None
        self.said: list[str | None] = []

    def step(self):
        self.said.append(healthy(self.scheduler))
        if self._enough(self.said[-1]) or len(self.said) == 1000:
            self._stop.set()


def test_the_scheduler_is_healthy_only_once_the_stores_are_prepared(network):
    stop, said = threading.Event(), []

    def prepare():
        said.append(healthy(scheduler))
        if len(said) == 1:
            raise Unavailable("Postgres does not answer: refused")
        if len(said) == 2:
            raise ZeroDivisionError

    watching = Watching(network.a.entity.settings.links[0], lambda message: message is None, stop)
    scheduler = Scheduler([watching], network.a.entity.audit, prepare, lambda: None, pace=Pace(0.001))
    watching.scheduler = scheduler
    scheduler.run(stop)
    assert said == [
        "the scheduler does nothing yet: it has not begun yet",
        "the scheduler does nothing yet: Postgres does not answer: refused",
        "the scheduler does nothing yet: ZeroDivisionError",
    ]
    assert watching.said[-1] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_one_of_whose_threads_died_is_not_healthy(network):
    class Dying:
        link = Link("x-y", "kme-y")

        def step(self):
            raise SystemExit

    stop = threading.Event()
    watching = Watching(network.a.entity.settings.links[0], lambda message: message and "ended" in message, stop)
    scheduler = Scheduler([Dying(), watching], network.a.entity.audit, lambda: None, lambda: None, pace=Pace(0.001))
    watching.scheduler = scheduler
    scheduler.run(stop)
    assert watching.said[-1] == "the scheduler's work has ended on link x-y: restart it"


def test_a_scheduler_whose_stores_stop_answering_is_not_healthy(network, monkeypatch):
    def fail():
        raise Unavailable("Redis does not answer: ConnectionError")

    monkeypatch.setattr(network.a.entity, "check", fail)
    stop = threading.Event()
    watching = Watching(network.a.entity.settings.links[0], lambda message: message and "Redis" in message, stop)
    scheduler = network.a.entity.scheduler(network.qkde.at("kme-a"), interval_s=0.001)
    watching.scheduler = scheduler
    scheduler._keepers = [watching]
    scheduler.run(stop)
    assert watching.said[-1] == "Redis does not answer: ConnectionError"


@pytest.mark.parametrize("site", ["a", "b"])
def test_the_account_shows_where_every_bit_went(network, site):
    network.step_until(lambda: full(network))
    take(network, 5)
    entity = getattr(network, site).entity
    account = entity.account()
    counted = counted_bits(entity)
    assert account.balanced
    assert account.remainder + account.reserved == counted["remainder"]
    assert account.stored == counted["stored"]
    assert account.delivered == (5 * 256 if site == "a" else 0)
    shown = getattr(network, site).operator.get("/v1/status").get_json()["account"]
    assert shown["balanced"] is True and shown["stored_bits"] == account.stored


def test_the_status_shows_the_bits_that_are_left_of_the_peers_blocks_too(network):
    network.step_until(lambda: full(network))
    network.step(3)
    for site in (network.a, network.b):
        status = site.operator.get("/v1/status").get_json()
        (blocks,) = [one["blocks"] for one in status["links"]]
        assert {one["owner_kme_id"] for one in blocks} == {"kme-a", "kme-b"}
        # Both ends took the confirmation key and 20 keys out of each owner's block, so both show what is left of it.
        made_count = sum(one["block_count"] for one in blocks)
        expected_bits = made_count * (network.qkde.length_bits - 256) - 2 * 20 * 256
        assert sum(one["uncut_bits"] for one in blocks) == expected_bits
        account = status["account"]
        assert expected_bits == account["remainder_bits"] + account["reserved_bits"]


def counted_bits(entity):
    """The same, counted from what is there instead of from the entries."""
    client = entity.keystore._redis
    head, wrapping = 13, 32
    remainder = sum(int(client.hget(name, "uncut_bits")) for name in client.scan_iter("block:*"))
    records = [one[45:] for name in client.scan_iter("pool:*") for one in client.lrange(name, 0, -1)]
    records += [one for name in client.scan_iter("copies:*") for one in client.hvals(name)]
    return {"remainder": remainder, "stored": sum(8 * (len(one) - head - wrapping) for one in records)}
