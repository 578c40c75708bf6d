"""Crashes at every step of filling and closing: what was begun is healed by starting again."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from kme.errors import Unavailable
from mutual_tls.client import Refused
from mutual_tls.identity import Identity

from kme_steps import Crash, blocks, crash_in, filled, link, pool_ids, post, unsettled


def fill_and_close_a_block(network):
    """A block for just the 20 keys of a's pool: ordered, confirmed, cut, closed, and the audit trail drained."""
    network.qkde.length_bits = 256 + 20 * 256
    for _ in range(3):
        network.a.scheduler.step()


CRASH_POINTS = 23


def test_there_are_no_other_crash_points(network):
    calls = interrupted(network, crash_at=0, after=False)
    fill_and_close_a_block(network)
    assert calls() == CRASH_POINTS


def interrupted(network, crash_at, after):
    entity = network.a.entity
    records = ("set_tags", "set_confirmed", "record_batch", "settle", "start_closing", "set_closed")
    steps = [
        (network.a.scheduler._keepers[0].owner.records, records),
        (entity.keystore, ("cut", "close_block", "forget_audit_entries")),
        (network.a.peers["kme-b"], ("request",)),
    ]
    return crash_in(steps, crash_at, after)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["block", "cut"])
def test_a_peer_whose_store_fails_during_a_batch_commits_it_later(network, monkeypatch, step, after):
    filled(network, 1)
    store = network.b.entity.keystore
    real = getattr(store, step)

    def fail(*arguments):
        if after:
            real(*arguments)
        raise Unavailable("Redis does not answer: ConnectionError")

    monkeypatch.setattr(store, step, fail)
    a = network.a.entity
    with pytest.raises(Refused, match="Redis does not answer") as refused:
        a.batch_owner.fill(a.catalogue.between("sae-a", "sae-b"), link(network), network.a.peers["kme-b"], 256, 4)
    assert refused.value.status == 503
    monkeypatch.undo()
    a.batch_owner.redrive(link(network), network.a.peers["kme-b"])
    assert len(pool_ids(network)) == 5
    network.assert_account_adds_up()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, CRASH_POINTS + 1))
def test_a_crash_at_any_step_of_a_fill_is_healed_by_starting_again(network, restarted, crash_at, after):
    interrupted(network, crash_at, after)
    with pytest.raises(Crash):
        fill_and_close_a_block(network)
    restarted("kme-a")
    network.step_until(lambda: network.a.entity.account().stored >= 2 * 20 * 256)
    assert not unsettled(network)
    assert len(pool_ids(network)) == 20
    network.assert_account_adds_up()


def test_the_peers_block_is_closed_with_the_owners_and_the_rest_is_burned(network):
    network.qkde.length_bits = 256 + 20 * 256 + 8 * 20
    network.step_until(lambda: blocks(network.a, "closed") and blocks(network.b, "closed"))
    for site in (network.a, network.b):
        assert site.entity.account().burned % (256 + 160) == 0
    network.assert_account_adds_up()


def test_closing_again_is_answered_again_and_a_foreign_closure_is_refused(network):
    network.qkde.round(block_id := uuid4(), "kme-a")
    stolen = network.a.client(Identity("kme", "kme-b")).post(f"/v1/blocks/{block_id}/closure")
    assert stolen.status_code == 409
    for _ in range(2):
        assert post(network, f"/v1/blocks/{block_id}/closure").status_code == 200
    assert network.b.entity.account().destroyed == network.qkde.length_bits


def test_nothing_of_a_closed_block_is_left_in_the_store(network):
    network.qkde.length_bits = 256 + 20 * 256
    network.step_until(lambda: blocks(network.a, "closed") and blocks(network.b, "closed"))
    for site in (network.a, network.b):
        client = site.entity.keystore._redis
        for block in blocks(site, "closed"):
            assert not client.exists(f"block:{block.block_id}", f"cuts:{block.block_id}")
    assert json.dumps(network.a.operator.get("/v1/status").get_json()["links"])
