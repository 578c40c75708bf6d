"""Batches between two whole KMEs: every call may come again, get lost, or be refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity

from kme_steps import filled, last_batch, link, new_batch, pool_ids, post, unsettled


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
