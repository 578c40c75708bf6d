"""Blocks and batches between two whole KMEs: every call may come again, get lost, or be cut off by a crash."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from kme.errors import Unavailable
from kme.keywrap import block_context
from kme.model import Block
from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity


class Crash(BaseException):
    """The process is gone: nothing may catch it on its way."""


def pool_ids(network, site="a") -> set[str]:
    """Takes every key out of a pool at its master's and fetches it at its slave's; the ids, all found equal."""
    master, slave = (network.a, network.b) if site == "a" else (network.b, network.a)
    m, s = ("sae-a", "sae-b") if site == "a" else ("sae-b", "sae-a")
    ids = set()
    while True:
        answer = master.sae(m).post(f"/api/v1/keys/{s}/enc_keys")
        if answer.status_code == 503:
            return ids
        (key,) = answer.get_json()["keys"]
        asked = {"key_IDs": [{"key_ID": key["key_ID"]}]}
        assert slave.sae(s).post(f"/api/v1/keys/{m}/dec_keys", json=asked).get_json() == {"keys": [key]}
        assert key["key_ID"] not in ids
        ids.add(key["key_ID"])


def link(network):
    return network.a.entity.settings.links[0]


def unsettled(network):
    return network.a.entity.block_records.unsettled("a-b")


def filled(network, count=5):
    """Has a hold a confirmed block and puts `count` keys into the pool of sae-a → sae-b, without the scheduler."""
    a = network.a.entity
    network.qkde.round(uuid4(), "kme-a")
    confirm(network)
    connection = a.catalogue.between("sae-a", "sae-b")
    return a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, count)


def confirm(network):
    a = network.a.entity
    for block in a.block_records.blocks_of("kme-a", "a-b", "received"):
        a.confirmation.ask(block, network.a.peers["kme-b"])


def post(network, path, body=None, sender="kme-a"):
    return network.b.client(Identity("kme", sender)).post(path, json=body)


def last_batch(network):
    return [body for _, path, body in network.a.peers["kme-b"].calls if path == "/v1/batches"][-1]


# Blocks


def test_a_block_is_taken_once_however_often_it_is_offered(network):
    block_id, bits = uuid4(), secrets.token_bytes(1000)
    for _ in range(3):
        assert network.a.hand_over(block_id, "kme-a", bits).status_code == 204
    assert network.a.entity.account().received == 8000


@pytest.mark.parametrize("change", ["bits", "owner", "length_bits"])
def test_a_block_with_a_known_id_and_anything_else_different_is_refused(network, change):
    block_id, bits = uuid4(), bytes(1000)
    offered = {"owner": "kme-a", "bits": bits}
    assert network.a.hand_over(block_id, **offered).status_code == 204
    other = {"bits": bits[:-1] + b"\1", "owner": "kme-b", "length_bits": 7999}
    answer = network.a.hand_over(block_id, **offered | {change: other[change]})
    assert answer.status_code == 409
    assert network.a.entity.account().received == 8000


def test_the_same_block_is_acknowledged_after_it_was_cut_and_closed_and_never_comes_back(network):
    network.qkde.length_bits = 256 + 20 * 256
    network.step_until(lambda: blocks(network.b, "closed"))
    for site in (network.a, network.b):
        block = blocks(site, "closed")[0]
        bits = network.qkde.blocks[block.block_id]
        before = site.entity.account()
        assert site.hand_over(block.block_id, block.owner_kme_id, bits).status_code == 204
        assert site.hand_over(block.block_id, block.owner_kme_id, bytes(len(bits))).status_code == 409
        assert site.entity.account() == before
    network.assert_account_adds_up()


def blocks(site, state, owner="kme-a") -> list[Block]:
    return site.entity.block_records.blocks_of(owner, "a-b", state)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"link": "x-y"}, "link"),
        ({"owner": "kme-z"}, "owner"),
        ({"length_bits": 7}, "bytes"),
        ({"length_bits": 0}, "length_bits"),
        ({"length_bits": 8 * 999 + 1}, "zeros"),
    ],
)
def test_a_malformed_block_is_refused_by_name(network, query, named):
    answer = network.a.hand_over(uuid4(), **{"owner": "kme-a", "bits": b"\xff" * 1000} | query)
    assert answer.status_code == 400
    assert named in answer.get_json()["message"]


def test_a_crash_during_intake_loses_nothing(network, monkeypatch):
    block_id, bits = uuid4(), secrets.token_bytes(1000)
    store = network.a.entity.keystore.store_block
    for at in ("before", "after"):

        def crash(*arguments, at=at):
            if at == "after":
                store(*arguments)
            raise Crash

        monkeypatch.setattr(network.a.entity.keystore, "store_block", crash)
        with pytest.raises(Crash):
            network.a.hand_over(block_id, "kme-a", bits)
        assert blocks(network.a, "arriving")
    monkeypatch.undo()
    assert network.a.hand_over(block_id, "kme-a", bits).status_code == 204
    assert blocks(network.a, "received")
    assert network.a.entity.account().received == 8000


# Confirmation


def test_a_block_is_not_cut_before_both_have_confirmed_it(network):
    network.qkde.round(uuid4(), "kme-a")
    a = network.a.entity
    connection = a.catalogue.between("sae-a", "sae-b")
    assert a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 5) == 0
    confirm(network)
    assert blocks(network.a, "confirmed") and blocks(network.b, "confirmed")
    assert a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 5) == 5


def test_the_confirmation_key_is_burned_on_both_sides(network):
    network.qkde.round(uuid4(), "kme-a")
    confirm(network)
    confirm(network)
    assert [site.entity.account().burned for site in (network.a, network.b)] == [256, 256]


def test_a_confirmation_whose_answer_was_lost_is_answered_again(network):
    network.qkde.round(uuid4(), "kme-a")
    network.a.peers["kme-b"].faults = ["lose", "lose"]
    for _ in range(2):
        with pytest.raises(Unreachable):
            confirm(network)
    confirm(network)
    assert blocks(network.a, "confirmed")
    assert network.b.entity.account().burned == 256


def test_a_confirmation_with_another_link_or_length_is_refused(network):
    network.qkde.round(block_id := uuid4(), "kme-a")
    body = {"link": "a-b", "length_bits": network.qkde.length_bits, "tag": "00" * 32}
    for change in ({"link": "x-y"}, {"length_bits": 8}):
        answer = post(network, f"/v1/blocks/{block_id}/confirmation", body | change)
        assert answer.status_code == 409 and "is known on link a-b" in answer.get_json()["message"]
    assert "tag" in post(network, f"/v1/blocks/{block_id}/confirmation", body).get_json()["message"]
    assert post(network, f"/v1/blocks/{block_id}/confirmation", body, sender="kme-z").status_code == 401


def test_a_peer_that_cannot_prove_to_hold_the_block_gets_it_given_up(network, monkeypatch):
    network.qkde.round(uuid4(), "kme-a")
    network.qkde.abort_reason = "no other block"
    monkeypatch.setattr(network.b.entity.confirmation, "answer", lambda *_: bytes(32))
    network.a.scheduler.step()
    assert not blocks(network.a, "confirmed")
    assert network.a.entity.account().destroyed == network.qkde.length_bits


def test_a_block_that_has_not_reached_the_peer_yet_is_confirmed_later(network):
    block_id, bits = uuid4(), secrets.token_bytes(1000)
    network.a.hand_over(block_id, "kme-a", bits)
    with pytest.raises(Refused) as refused:
        confirm(network)
    assert refused.value.status == 404
    network.b.hand_over(block_id, "kme-a", bits)
    network.a.scheduler.step()
    assert blocks(network.a, "confirmed")


def test_ends_that_hold_different_bits_make_no_key_of_them(network):
    block_id = uuid4()
    network.qkde.abort_reason = "no other block"
    network.a.hand_over(block_id, "kme-a", b"\0" * 1000)
    network.b.hand_over(block_id, "kme-a", b"\1" + b"\0" * 999)
    network.a.scheduler.step()
    for site in (network.a, network.b):
        assert site.entity.block_records.block(block_id).state == "closed"
        assert site.entity.account().destroyed == 8000
        assert site.entity.account().stored == 0
    network.assert_account_adds_up()


def test_a_block_that_differs_after_its_first_bits_is_the_qkdes_business_but_its_length_is_not(network):
    block_id = uuid4()
    network.qkde.abort_reason = "no other block"
    network.a.hand_over(block_id, "kme-a", b"\5" * 1000)
    network.b.hand_over(block_id, "kme-a", b"\5" * 999)
    network.a.scheduler.step()
    assert network.b.entity.block_records.block(block_id).state == "closed"


def test_a_block_that_stays_unconfirmed_is_given_up_and_a_late_hand_off_is_dropped(network):
    block_id, bits = uuid4(), secrets.token_bytes(1000)
    network.qkde.abort_reason = "no other block"
    network.a.hand_over(block_id, "kme-a", bits)
    network.a.scheduler.step()
    assert blocks(network.a, "received")
    network.a.clock[0] += 61.0
    network.a.scheduler.step()
    assert network.a.entity.account().destroyed == 8000
    assert network.b.hand_over(block_id, "kme-a", bits).status_code == 204
    assert network.b.entity.account().received == 0
    assert network.b.entity.block_records.block(block_id).state == "closed"


def only_at_the_peer(network):
    """A block of kme-a's that only kme-b has received, seen once by kme-b's scheduler."""
    block_id, bits = uuid4(), secrets.token_bytes(1000)
    network.qkde.abort_reason = "no other block"
    assert network.b.hand_over(block_id, "kme-a", bits).status_code == 204
    network.b.scheduler.step()
    return block_id, bits


def test_a_block_that_only_the_peer_received_is_destroyed_there_when_its_owner_never_asks(network):
    block_id, bits = only_at_the_peer(network)
    network.b.clock[0] += 179.0
    network.b.scheduler.step()
    assert blocks(network.b, "received")
    network.b.clock[0] += 2.0
    network.b.scheduler.step()
    assert network.b.entity.block_records.block(block_id).state == "closed"
    assert network.b.entity.keystore.block(block_id) is None
    assert network.b.entity.account().destroyed == 8000
    with network.b.entity.database.transaction() as sql:
        sql.execute("SELECT void_reason FROM block WHERE block_id = %s", (block_id,))
        assert "kme-a did not ask to confirm it in 181 s" in sql.fetchone()["void_reason"]
    network.assert_account_adds_up()


def test_what_comes_late_for_a_block_that_the_peer_has_destroyed_finds_it_shut(network):
    block_id, bits = only_at_the_peer(network)
    network.b.clock[0] += 181.0
    network.b.scheduler.step()
    assert network.b.hand_over(block_id, "kme-a", bits).status_code == 204
    assert network.a.hand_over(block_id, "kme-a", bits).status_code == 204
    body = {"link": "a-b", "length_bits": 8000, "tag": "00" * 32}
    answer = post(network, f"/v1/blocks/{block_id}/confirmation", body)
    assert answer.status_code == 409 and "is closed" in answer.get_json()["message"]
    network.a.scheduler.step()
    for site in (network.a, network.b):
        assert site.entity.block_records.block(block_id).state == "closed"
        account = site.entity.account()
        assert (account.received, account.destroyed) == (8000, 8000)
    network.assert_account_adds_up()


def test_a_crash_while_the_peer_destroys_a_block_is_healed(network, monkeypatch):
    block_id, _ = only_at_the_peer(network)

    def crash(*_):
        raise Crash

    monkeypatch.setattr(network.b.entity.keystore, "close_block", crash)
    network.b.clock[0] += 181.0
    with pytest.raises(Crash):
        network.b.scheduler.step()
    monkeypatch.undo()
    network.b.scheduler.step()
    assert network.b.entity.block_records.block(block_id).state == "closed"
    assert network.b.entity.account().destroyed == 8000


def test_a_block_that_the_peer_gives_up_while_it_is_asked_about_is_not_confirmed(network, monkeypatch):
    block_id, bits = only_at_the_peer(network)
    network.a.hand_over(block_id, "kme-a", bits)
    records = network.b.entity.block_records
    set_confirmed = records.set_confirmed

    def given_up_in_between(*arguments):
        records.set_void(block_id, "not asked in time")
        return set_confirmed(*arguments)

    monkeypatch.setattr(records, "set_confirmed", given_up_in_between)
    network.a.scheduler.step()
    for _ in range(2):
        network.b.scheduler.step()
    for site in (network.a, network.b):
        assert site.entity.block_records.block(block_id).state == "closed"
    network.assert_account_adds_up()


def test_a_confirmed_block_of_the_peers_is_kept_however_long_it_lies_there(network):
    network.qkde.round(uuid4(), "kme-a")
    network.qkde.abort_reason = "no other block"
    network.b.scheduler.step()
    confirm(network)
    for _ in range(3):
        network.b.clock[0] += 1000.0
        network.b.scheduler.step()
    assert blocks(network.b, "confirmed")


def test_a_block_that_is_closed_while_it_arrives_is_not_stored_afterwards(network, monkeypatch):
    """The hand-off has read `arriving`, then the owner closes the block, then the hand-off goes on."""
    block_id, entity = uuid4(), network.b.entity
    store = entity.keystore.store_block

    def closed_in_between(*arguments):
        assert post(network, f"/v1/blocks/{block_id}/closure").status_code == 200
        return store(*arguments)

    monkeypatch.setattr(entity.keystore, "store_block", closed_in_between)
    assert network.b.hand_over(block_id, "kme-a", bytes(1000)).status_code == 204
    assert entity.block_records.block(block_id).state == "closed"
    assert entity.account().received == 0


# Batches


def test_what_was_cut_is_gone_from_the_block_on_both_sides(network):
    filled(network)
    (block,) = blocks(network.a, "confirmed")
    end = (256 + 5 * 256) // 8
    for site in (network.a, network.b):
        stored = site.entity.keystore.block(block.block_id)
        bits = site.entity.keywrap.unwrap(stored.wrapped, block_context(block.block_id, stored.version))
        assert bits == bytes(end) + network.qkde.blocks[block.block_id][end:]


def test_a_block_is_not_closed_while_a_batch_of_it_is_unsettled(network):
    network.qkde.length_bits = 256 + 5 * 256
    network.qkde.round(uuid4(), "kme-a")
    network.qkde.abort_reason = "no other block"
    network.a.peers["kme-b"].faults = ["", "lose", "refuse", "refuse"]
    network.a.scheduler.step()  # confirms it, cuts all of it, and does not hear the answer
    network.a.scheduler.step()
    assert blocks(network.a, "confirmed") and unsettled(network)
    network.step_until(lambda: blocks(network.a, "closed"))
    assert len(pool_ids(network)) == 5
    network.assert_account_adds_up()


def test_a_batch_sent_again_is_answered_again_and_changes_nothing(network):
    assert filled(network) == 5
    before = network.b.entity.account()
    for _ in range(3):
        answer = post(network, "/v1/batches", last_batch(network))
        assert (answer.status_code, answer.get_json()) == (200, {"state": "committed"})
    assert network.b.entity.account() == before
    assert len(pool_ids(network)) == 5


def test_committed_means_that_the_slave_can_fetch(network):
    filled(network)
    key_ids = [{"key_ID": one} for one in last_batch(network)["key_ids"]]
    answer = network.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json={"key_IDs": key_ids})
    assert len(answer.get_json()["keys"]) == 5


def new_batch(network, **changes):
    batch = last_batch(network)
    end = batch["offset_bits"] + batch["key_size_bits"] * len(batch["key_ids"])
    fresh = {"batch_id": str(uuid4()), "offset_bits": end, "key_ids": [str(uuid4())]}
    return batch | fresh | changes


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, 200, None),
        ({"offset_bits": 256 + 4 * 256}, 409, "cut before"),
        ({"offset_bits": 128}, 409, "not inside"),
        ({"offset_bits": 100_000 - 128}, 409, "not inside"),
        ({"offset_bits": 2001}, 409, "not inside"),
        ({"key_size_bits": 12}, 409, "multiple of 8"),
        ({"recipients": ["sae-c"]}, 409, "recipients"),
        ({"recipients": []}, 409, "recipients"),
        ({"block_id": "5f0c1b9e-0000-4000-8000-000000000000"}, 409, "never was"),
        ({"connection_id": "5f0c1b9e-0000-4000-8000-000000000000"}, 404, "not known"),
        ({"key_ids": []}, 400, "key_ids"),
        ({"key_ids": ["x"]}, 400, "key_ids"),
        ({"offset_bits": True}, 400, "offset_bits"),
    ],
)
def test_the_peer_checks_a_batch(network, changes, status, said):
    filled(network)
    before = network.b.entity.account()
    answer = post(network, "/v1/batches", new_batch(network, **changes))
    assert answer.status_code == status
    if status != 200:
        assert said in answer.get_json()["message"]
        assert network.b.entity.account() == before


def test_a_known_key_id_is_refused_even_after_its_delivery(network):
    filled(network)
    known = last_batch(network)["key_ids"][:1]
    network.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json={"key_IDs": [{"key_ID": known[0]}]})
    answer = post(network, "/v1/batches", new_batch(network, key_ids=known))
    assert answer.status_code == 409 and "in use" in answer.get_json()["message"]


def test_another_batch_under_the_same_id_is_refused(network):
    filled(network)
    answer = post(network, "/v1/batches", new_batch(network, batch_id=last_batch(network)["batch_id"]))
    assert answer.status_code == 409 and "has this id" in answer.get_json()["message"]


def test_only_the_owner_of_a_block_may_cut_it(network):
    filled(network)
    stolen = new_batch(network)
    answer = network.a.client(Identity("kme", "kme-b")).post("/v1/batches", json=stolen)
    assert answer.status_code == 409 and "not kme-b's" in answer.get_json()["message"]


def test_a_kme_at_no_link_is_not_admitted(network):
    filled(network)
    assert post(network, "/v1/batches", new_batch(network), sender="kme-z").status_code == 401


def test_a_batch_that_never_arrived_is_sent_again_as_it_was(network):
    network.a.peers["kme-b"].faults = ["", "refuse"]
    with pytest.raises(Unreachable):
        filled(network)
    (batch,) = unsettled(network)
    network.a.entity.batch_owner.redrive(link(network), network.a.peers["kme-b"])
    assert not unsettled(network)
    assert pool_ids(network) == {str(one) for one in batch.key_ids}


def test_keys_of_a_batch_are_not_deliverable_before_the_peer_has_committed(network):
    network.a.peers["kme-b"].faults = ["", "lose"]
    with pytest.raises(Unreachable):
        filled(network)
    assert network.a.entity.account().stored == 0
    assert network.b.entity.account().stored == 5 * 256
    network.a.entity.batch_owner.redrive(link(network), network.a.peers["kme-b"])
    assert len(pool_ids(network)) == 5
    network.assert_account_adds_up()


def test_a_refused_batch_is_burned_and_its_range_never_cut_again(network):
    filled(network)
    # The peer has cut this range already, by whatever mistake.
    assert post(network, "/v1/batches", new_batch(network)).status_code == 200
    a = network.a.entity
    connection = a.catalogue.between("sae-a", "sae-b")
    with pytest.raises(Exception, match="refused a batch"):
        a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 3)
    assert not unsettled(network)
    assert a.account().burned == 256 + 3 * 256
    assert a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 3) == 3
    assert len(pool_ids(network)) == 8
    network.assert_account_adds_up()


def test_a_connection_that_the_peer_does_not_know_is_told_and_the_batch_goes_on(network):
    with network.b.entity.database.transaction() as sql:
        sql.execute("DELETE FROM connection")
    with pytest.raises(Refused):
        filled(network)
    network.a.entity.batch_owner.redrive(link(network), network.a.peers["kme-b"])
    assert len(pool_ids(network)) == 5


def test_fills_at_the_same_time_never_cut_the_same_bits(network):
    filled(network, 1)
    a = network.a.entity
    connection = a.catalogue.between("sae-a", "sae-b")

    def fill(_):
        return a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 3)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(fill, range(18))) == 54
    assert len(pool_ids(network)) == 55
    network.assert_account_adds_up()


def fill_and_close_a_block(network):
    """A block for just the 20 keys of a's pool: ordered, confirmed, cut, closed, and the audit trail drained."""
    network.qkde.length_bits = 256 + 20 * 256
    for _ in range(3):
        network.a.scheduler.step()


CRASH_POINTS = 21


def test_there_are_no_other_crash_points(network):
    calls = interrupted(network, crash_at=0, after=False)
    fill_and_close_a_block(network)
    assert calls() == CRASH_POINTS


def interrupted(network, crash_at, after):
    """Counts the scheduler of a's calls to stores and peer, and crashes at one, before or after it took place."""
    count = 0

    def counted(call):
        def wrapper(*arguments, **options):
            nonlocal count
            count += 1
            if count == crash_at and not after:
                raise Crash
            result = call(*arguments, **options)
            if count == crash_at:
                raise Crash
            return result

        return wrapper

    entity = network.a.entity
    steps = [
        (entity.block_records, ("set_tags", "set_confirmed", "record_batch", "settle", "start_closing", "set_closed")),
        (entity.keystore, ("cut", "close_block", "forget_audit_entries")),
        (network.a.peers["kme-b"], ("request",)),
    ]
    for owner, names in steps:
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    return lambda: count


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
