"""Crashes at every step of a request to additional slaves, and of a fill for two SAEs of one KME."""

from __future__ import annotations

import pytest

from kme.model import KeyRequest, Link
from mutual_tls.client import PeerError

from kme_steps import Crash, ask, assert_accounts, connected, counted_stored_bits, crash_in, fetch, last_batch, link

ALL = ["third-a", "third-b"]
REQUEST_POINTS = 6  # has the peer the SAE, record, send, cut, deliver, settle
VOID_POINTS = 4  # record it, take back, tell the peer, settle
LOCAL_POINTS = 4  # record, send, cut, settle


@pytest.fixture
def wide(network):
    connected(network, "sae-a", "other", max_sae_id_count=3, max_keys_count=10)
    for site, sae_id in ((network.a, "third-a"), (network.b, "third-b")):
        assert site.operator.post("/v1/saes", json={"sae_id": sae_id}).status_code == 201
    network.step_until(lambda: network.a.entity.block_records.uncut_key_count("kme-a", "a-b", 256) > 60)
    network.step(2)
    return network


def request_interrupted(network, crash_at, after):
    entity = network.a.entity
    steps = [
        (entity.block_records, ("record_batch",)),
        (entity.request_records, ("start_voiding", "commit", "settle")),
        (entity.keystore, ("cut", "take_keys", "void")),
        (network.a.peers["kme-b"], ("request",)),
    ]
    return crash_in(steps, crash_at, after)


def open_requests(network):
    requests = network.a.entity.request_records
    return requests.unsettled("a-b", "recorded") + requests.unsettled("a-b", "voiding")


def test_there_are_no_other_crash_points_of_a_request(wide):
    calls = request_interrupted(wide, crash_at=0, after=False)
    assert ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=ALL).status_code == 200
    assert calls() == REQUEST_POINTS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, REQUEST_POINTS + 1))
def test_a_request_cut_off_at_any_step_is_delivered_whole_or_voided_whole(wide, restarted, crash_at, after):
    delivered_before = wide.a.entity.account().delivered
    stored_before = [counted_stored_bits(one.entity) for one in (wide.a, wide.b)]
    request_interrupted(wide, crash_at, after)
    with pytest.raises(Crash):
        wide.a.entity.delivery.enc_keys("sae-a", "other", key_request(2))
    was_cut = any(path == "/v1/batches" for _, path, _ in wide.a.peers["kme-b"].calls[-2:])
    batch = last_batch(wide) if was_cut else None
    restarted("kme-a")
    wide.step(2)
    wide.a.clock[0] += 31.0
    wide.step(2)
    assert not open_requests(wide)
    assert_accounts(wide)
    delivered = wide.a.entity.account().delivered - delivered_before
    stored = [counted_stored_bits(one.entity) for one in (wide.a, wide.b)]
    if delivered:
        keys = [{"key_ID": key_id} for key_id in batch["key_ids"]]
        fetched = [fetch(wide, sae_id, "sae-a", keys).get_json()["keys"] for sae_id in ("other", *ALL)]
        assert delivered == 2 * 256 and fetched[0] == fetched[1] == fetched[2]
    else:
        assert stored == stored_before
    assert delivered == (2 * 256 if (crash_at, after) >= (5, True) else 0)


def key_request(number):
    return KeyRequest(number, None, tuple(ALL))


def test_a_request_that_is_still_being_served_is_left_alone(wide, monkeypatch):
    store, real = wide.a.entity.keystore, wide.a.entity.keystore.take_keys

    def slow(*arguments, **options):
        wide.step(2)
        wide.a.clock[0] += 20.0
        wide.step(2)
        return real(*arguments, **options)

    monkeypatch.setattr(store, "take_keys", slow)
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 200
    assert not open_requests(wide)
    assert_accounts(wide)


def test_a_request_that_comes_back_after_its_keys_were_voided_gets_none(wide, monkeypatch):
    store, real = wide.a.entity.keystore, wide.a.entity.keystore.take_keys

    def paused(*arguments, **options):
        wide.a.scheduler.step()
        wide.a.clock[0] += 31.0
        wide.a.scheduler.step()
        return real(*arguments, **options)

    monkeypatch.setattr(store, "take_keys", paused)
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 503
    monkeypatch.undo()
    assert not open_requests(wide)
    for sae_id in ("other", *ALL):
        keys = [{"key_ID": key_id} for key_id in last_batch(wide)["key_ids"]]
        assert fetch(wide, sae_id, "sae-a", keys).status_code == 400
    assert_accounts(wide)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, VOID_POINTS + 1))
def test_voiding_that_is_cut_off_at_any_step_is_ended_by_starting_again(wide, restarted, crash_at, after):
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 200
    stored = [counted_stored_bits(one.entity) for one in (wide.a, wide.b)]
    peer, entity = wide.a.peers["kme-b"], wide.a.entity
    peer.faults = ["lose"]
    steps = [
        (entity.request_records, ("start_voiding", "settle")),
        (entity.keystore, ("void",)),
        (peer, ("request",)),
    ]
    crash_in(steps, crash_at + 1, after)  # the first call is that of the batch, whose answer is lost
    with pytest.raises(Crash):
        entity.delivery.enc_keys("sae-a", "other", key_request(1))
    restarted("kme-a")
    wide.step()
    wide.a.clock[0] += 31.0
    wide.step(2)
    assert not open_requests(wide)
    assert [counted_stored_bits(one.entity) for one in (wide.a, wide.b)] == stored
    assert_accounts(wide)


def test_there_are_no_other_crash_points_of_a_local_fill(wide):
    calls = local_interrupted(wide, 0, False)
    fill_local(wide)
    assert calls() == LOCAL_POINTS


def local_interrupted(network, crash_at, after):
    connected(network, "sae-a", "third-a")
    entity = network.a.entity
    steps = [
        (entity.block_records, ("record_batch", "settle")),
        (entity.keystore, ("cut",)),
        (network.a.peers["kme-b"], ("request",)),
    ]
    return crash_in(steps, crash_at, after)


def fill_local(network):
    a = network.a.entity
    connection = a.catalogue.between("sae-a", "third-a")
    try:
        return a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 5)
    except PeerError:
        return 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, LOCAL_POINTS + 1))
def test_a_local_fill_cut_off_at_any_step_ends_with_full_pools_and_nothing_at_the_peer(
    wide, restarted, crash_at, after
):
    destroyed = wide.b.entity.account().destroyed
    local_interrupted(wide, crash_at, after)
    with pytest.raises(Crash):
        fill_local(wide)
    restarted("kme-a")

    def stored_count():
        return wide.a.sae("sae-a").get("/api/v1/keys/third-a/status").get_json()["stored_key_count"]

    wide.step_until(lambda: stored_count() == 20)
    keys = ask(wide, "sae-a", "third-a", number=10).get_json()["keys"]
    assert fetch(wide, "third-a", "sae-a", keys).get_json() == {"keys": keys}
    assert wide.b.entity.account().destroyed == destroyed + 20 * 256
    assert_accounts(wide)


def test_the_links_of_a_site_are_tried_in_order_and_one_with_bits_feeds_its_own_pairs(wide):
    keeper = wide.a.scheduler._keepers[0]
    local = wide.a.entity.catalogue.between("sae-a", "sae-b")
    assert keeper._feeds_local([local])
    keeper.link = Link("a-c", "kme-c")
    assert not keeper._feeds_local([local])
