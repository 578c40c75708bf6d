"""Operators remove SAEs and connections: their keys are destroyed at both KMEs, whatever fails on the way."""

from __future__ import annotations

import pytest

from kme.errors import Unavailable
from kme.etsi014 import connection_json
from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity

from administration_steps import PATH, events, fetch, known, stored, take
from kme_steps import Crash, filled, link, unsettled


@pytest.fixture
def full(network):
    network.step_until(lambda: stored(network) == 20)
    return network


@pytest.mark.parametrize("at", ["a", "b"])
def test_removal_at_either_kme_destroys_the_keys_at_both_and_says_how_many(full, at):
    keys = take(full, 5).get_json()["keys"]
    fetch(full, keys[:2])
    answer = getattr(full, at).operator.delete(PATH)
    assert answer.status_code == 200
    body = answer.get_json()
    here, there = (15, 18) if at == "a" else (18, 15)
    assert body["removed"] and body["complete"]
    assert (body["destroyed_key_count"], body["peer"]["destroyed_key_count"]) == (here, there)
    assert known(full.a) is None and known(full.b) is None
    for site, count in ((full.a, 15), (full.b, 18)):
        assert site.entity.account().destroyed == count * 256
        assert [one["by"] for one in events(site, "connection_removed")] == [f"kme-{at}"]
        assert sum(one["key_count"] for one in events(site, "keys_destroyed")) == count
    full.assert_account_adds_up()
    assert take(full).status_code == fetch(full, keys[2:]).status_code == 400


def test_keys_of_other_sizes_are_destroyed_as_well(full):
    full.a.entity.on_demand.fill_pool(full.a.entity.catalogue.between("sae-a", "sae-b"), 512, 3)
    assert full.a.operator.delete(PATH).get_json()["destroyed_key_count"] == 23
    full.assert_account_adds_up()


def test_a_removal_while_the_peer_is_away_comes_through_when_it_is_back(full, restarted):
    full.a.peers["kme-b"].faults = ["refuse"] * 2
    answer = full.a.operator.delete(PATH)
    assert answer.status_code == 202
    assert answer.get_json()["destroyed_key_count"] == 20
    assert answer.get_json()["peer"] == {"kme_id": "kme-b", "told": False, "destroyed_key_count": None}
    assert known(full.a) is None and known(full.b)
    restarted("kme-a")
    full.step_until(lambda: known(full.b) is None)
    assert full.b.entity.account().destroyed == 20 * 256
    full.assert_account_adds_up()


@pytest.mark.parametrize("trouble", ["refused", "away"])
def test_a_change_that_does_not_come_through_is_told_again_with_growing_pauses(full, caplog, trouble):
    peer = full.a.peers["kme-b"]
    calls, said = [], len(caplog.records)
    failure = Refused(409, "it contradicts what is known here") if trouble == "refused" else Unreachable("gone")

    def refuse(method, path, **_):
        calls.append(path)
        raise failure

    whole, peer.request = peer.request, refuse
    full.a.operator.patch(PATH, json={"max_keys_count": 30})
    for _ in range(120):  # half a minute of the scheduler's steps
        full.a.entity.administration.step(full.a.clock[0])
        full.a.clock[0] += 0.25
    assert 5 <= len(calls) <= 15
    lines = [one for one in caplog.records[said:] if "has to wait" in one.message]
    assert len(lines) == 1
    peer.request = whole
    full.a.entity.administration.step(full.a.clock[0] + 61)
    assert known(full.b)["max_keys_count"] == 30


def test_a_removal_whose_answer_was_lost_is_told_again_and_destroys_nothing_twice(full):
    full.a.peers["kme-b"].faults = ["lose"]
    assert full.a.operator.delete(PATH).status_code == 202
    full.step(2)
    assert not full.a.entity.administration._records.unfinished()
    assert full.b.entity.account().destroyed == 20 * 256


def test_a_crash_between_the_record_of_a_removal_and_the_key_store_is_healed(full, monkeypatch, restarted):
    def crash(*_):
        raise Crash

    monkeypatch.setattr(full.a.entity.keystore, "follow_connection", crash)
    with pytest.raises(Crash):
        full.a.operator.delete(PATH)
    restarted("kme-a")
    assert full.a.entity.account().destroyed == 0
    full.step_until(lambda: known(full.b) is None)
    assert full.a.entity.account().destroyed == full.b.entity.account().destroyed == 20 * 256


def test_a_removed_connection_is_not_brought_back_by_a_late_call_or_by_the_topology(full):
    late = full.a.entity.catalogue.between("sae-a", "sae-b")
    full.a.operator.delete(PATH)
    answer = full.b.client(Identity("kme", "kme-a")).put(PATH, json=connection_json(late))
    assert answer.status_code == 409 and "was removed" in answer.get_json()["message"]
    for site, sae in ((full.a, "sae-a"), (full.b, "sae-b")):
        site.entity.prepare([sae], [late])
        assert known(site) is None


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_removed_connection_can_be_registered_anew_and_gets_new_keys(full, at):
    full.a.operator.delete(PATH)
    members = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": "sae-a", "slave_SAE_ID": "sae-b"}
    answer = getattr(full, at).operator.post("/register_connection", json=members | {"max_keys_count": 7})
    assert answer.status_code == 201
    full.step_until(lambda: stored(full) == 7)
    keys = take(full, 7).get_json()["keys"]
    assert fetch(full, keys).get_json() == {"keys": keys}
    full.assert_account_adds_up()


def test_a_batch_that_is_on_its_way_while_its_connection_is_removed_fills_no_pool(network):
    filled(network, 5)
    a, peer = network.a.entity, network.a.peers["kme-b"]
    connection = a.catalogue.between("sae-a", "sae-b")
    peer.faults = ["lose"]  # the other KME has committed it
    with pytest.raises(Exception, match="no answer in time"):
        a.batch_owner.fill(connection, link(network), peer, 256, 4)
    (batch,) = unsettled(network)
    assert network.a.operator.delete(PATH).get_json()["peer"]["destroyed_key_count"] == 9
    assert not unsettled(network)
    with pytest.raises(Refused):  # a process that was about to send it again
        a.batch_owner.drive(batch, peer)
    assert a.cutter.to_pool(batch) in ("void", "removed")
    assert a.account().stored == network.b.entity.account().stored == 0
    network.assert_account_adds_up()


def test_a_batch_that_was_committed_just_before_its_connection_was_removed_fills_no_pool(network, monkeypatch):
    filled(network, 1)
    a, peer = network.a.entity, network.a.peers["kme-b"]
    to_pool = a.cutter.to_pool

    def removed_in_between(batch):
        network.a.operator.delete(PATH)
        return to_pool(batch)

    monkeypatch.setattr(a.cutter, "to_pool", removed_in_between)
    monkeypatch.setattr(a.cutter, "burn", lambda batch: "not yet")
    connection = a.catalogue.between("sae-a", "sae-b")
    with pytest.raises(Exception, match="refused a batch"):
        a.batch_owner.fill(connection, link(network), peer, 256, 4)
    assert a.account().stored == network.b.entity.account().stored == 0
    network.assert_account_adds_up()


def test_removing_an_sae_removes_its_connections_at_both_kmes(full):
    answer = full.b.operator.delete("/v1/saes/sae-b")
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["complete"] and len(body["connections"]) == 2 and body["destroyed_key_count"] == 40
    for site in (full.a, full.b):
        assert site.operator.get("/v1/connections").get_json() == []
        assert site.entity.account().stored == 0
    full.assert_account_adds_up()
    assert full.b.operator.get("/v1/saes/sae-b").status_code == 404
    assert full.b.sae("sae-b").get("/api/v1/keys/sae-a/status").status_code == 401
    full.b.entity.prepare(["sae-b"])
    assert full.b.operator.get("/v1/saes").get_json() == []
    assert full.b.operator.post("/v1/saes", json={"sae_id": "sae-b"}).status_code == 201


def test_an_sae_is_removed_though_the_key_store_does_not_answer_and_its_keys_are_destroyed_later(full, monkeypatch):
    def fail(*_):
        raise Unavailable("Redis does not answer: ConnectionError")

    for name in ("leave_catalogue_mark", "follow_connection"):
        monkeypatch.setattr(full.b.entity.keystore, name, fail)
    answer = full.b.operator.delete("/v1/saes/sae-b")
    assert answer.status_code == 202 and answer.get_json()["complete"] is False
    monkeypatch.undo()
    full.step(2)
    assert full.a.entity.account().stored == full.b.entity.account().stored == 0
    full.assert_account_adds_up()
