"""The scheduler: it fills pools to their high watermark and stops, and comes back by itself after every trouble."""

from __future__ import annotations

import logging
import threading

import pytest

from kme.errors import Conflict, Unavailable
from kme.scheduler import Scheduler


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
        Scheduler([Keeper()], network.a.entity.audit, prepare, interval_s=0.0).run(stop)
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

    Scheduler([Broken(), Working()], network.a.entity.audit, lambda: None, interval_s=0.0).run(stop)
    assert len(steps) == 3


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


def counted_bits(entity):
    """The same, counted from what is there instead of from the entries."""
    client = entity.keystore._redis
    wrapping = 32
    remainder = sum(int(client.hget(name, "uncut_bits")) for name in client.scan_iter("block:*"))
    records = [one[16:] for name in client.scan_iter("pool:*") for one in client.lrange(name, 0, -1)]
    records += [one for name in client.scan_iter("keys:*") for one in client.hvals(name)]
    return {"remainder": remainder, "stored": sum(8 * (len(one) - wrapping) for one in records)}
