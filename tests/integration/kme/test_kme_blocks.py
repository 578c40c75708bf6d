"""Blocks between two whole KMEs: taken in, confirmed, given up, closed; every call may come again or get lost."""

from __future__ import annotations

import secrets
from uuid import uuid4

import pytest

from kme.errors import Unavailable
from kme.keywrap import block_context
from mutual_tls.client import Refused, Unreachable

from kme_steps import Crash, blocks, confirm, filled, link, pool_ids, post, unsettled


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
        bits = site.entity.keyring.unwrap(stored.wrapped, block_context(block.block_id, stored.version))
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


def test_looking_for_blocks_that_are_done_with_waits_for_nobody_where_there_is_none(network):
    """It is looked for in each of the scheduler's steps; the link's row is locked while a batch is recorded."""
    filled(network)
    database, records = network.a.entity.database, network.a.entity.block_records
    with database.transaction() as sql:
        records._lock(sql, "a-b")
        records.start_closing("kme-a", "a-b", 1)
        with pytest.raises(Unavailable):
            records.start_closing("kme-a", "a-b", 10**6)
    assert not blocks(network.a, "closing")
    records.start_closing("kme-a", "a-b", 10**6)
    assert blocks(network.a, "closing")
