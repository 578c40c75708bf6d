"""Operators change, suspend and remove SAEs and connections; what one KME is told comes through at the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kme.errors import Unavailable
from kme.etsi014 import connection_json
from kme.model import Connection
from kme.peer_wire import state_json
from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity

from kme_steps import Crash, filled, link, unsettled

ENC = "/api/v1/keys/sae-b/enc_keys"
ID = str(Connection("kme-a", "kme-b", "sae-a", "sae-b").connection_id)
PATH = f"/v1/connections/{ID}"


@pytest.fixture
def full(network):
    network.step_until(lambda: stored(network) == 20)
    return network


def stored(network) -> int:
    return network.a.operator.get(PATH).get_json()["stored_key_count"]


def known(site):
    """The connection as this KME has it; None where it has none."""
    answer = site.operator.get(PATH)
    return answer.get_json() if answer.status_code == 200 else None


def take(network, number=1):
    return network.a.sae("sae-a").post(ENC, json={"number": number})


def fetch(network, keys):
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    return network.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json=body)


def events(site, name):
    site.scheduler.step()
    with site.entity.database.transaction() as sql:
        sql.execute("SELECT detail FROM audit WHERE event = %s ORDER BY audit_id", (name,))
        return [row["detail"] for row in sql.fetchall()]


# Changes


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_change_at_either_kme_holds_at_both(full, at):
    change = {"max_keys_count": 30, "max_key_per_request": 15, "qos": {"Priority": 2}, "ttl_s": 600}
    answer = getattr(full, at).operator.patch(PATH, json=change)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["complete"] and body["peer"]["told"]
    assert (body["max_keys_count"], body["max_key_per_request"], body["Priority"], body["TTL"]) == (30, 15, 2, 600)
    for site in (full.a, full.b):
        assert {**known(site), "stored_key_count": 0} == {
            **{name: body[name] for name in body if name not in ("complete", "peer")},
            "stored_key_count": 0,
        }
    assert take(full, 15).status_code == 200
    full.step_until(lambda: stored(full) == 30)


def test_null_takes_a_quality_of_service_away(full):
    full.a.operator.patch(PATH, json={"qos": {"Priority": 2, "Jitter": 1}})
    body = full.a.operator.patch(PATH, json={"qos": {"Priority": None}}).get_json()
    assert "Priority" not in body and body["Jitter"] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, "expected one or more of max_keys_count"),
        ({"key_size": 128}, "'key_size' can't be changed"),
        ({"max_keys_count": 0}, "max_keys_count: expected 1..100000, got 0"),
        ({"max_keys_count": 5}, "max_key_per_request: expected 1..5, got 10"),
        ({"max_keys_count": True}, "max_keys_count: expected an integer"),
        ({"suspended": "yes"}, "suspended: expected true or false"),
        ({"qos": {"Colour": 1}}, "qos: 'Colour' can't be changed"),
        ({"ttl_s": 0}, "ttl_s: expected 1.."),
    ],
)
def test_a_bad_change_is_refused_by_name_and_changes_nothing(full, change, named):
    before = known(full.a)
    answer = full.a.operator.patch(PATH, json=change)
    assert answer.status_code == 400 and named in answer.get_json()["message"]
    assert known(full.a) == before


def test_a_change_while_the_peer_is_away_comes_through_when_it_is_back(full):
    full.a.peers["kme-b"].faults = ["refuse"] * 3
    answer = full.a.operator.patch(PATH, json={"max_keys_count": 30})
    assert answer.status_code == 202 and answer.get_json()["peer"] == {"kme_id": "kme-b", "told": False}
    assert (known(full.a)["max_keys_count"], known(full.b)["max_keys_count"]) == (30, 20)
    full.step_until(lambda: known(full.b)["max_keys_count"] == 30)


def test_changes_at_both_ends_that_cross_end_in_one_state(full):
    full.a.peers["kme-b"].faults = ["refuse"]
    full.b.peers["kme-a"].faults = ["refuse"]
    full.a.operator.patch(PATH, json={"max_keys_count": 30})
    full.b.operator.patch(PATH, json={"max_keys_count": 40})
    full.step(4)
    assert known(full.a)["max_keys_count"] == known(full.b)["max_keys_count"] == 40
    assert not full.a.entity.administration._records.unfinished()
    assert not full.b.entity.administration._records.unfinished()


def test_a_change_survives_the_topology_at_the_next_start(full, restarted):
    full.a.operator.patch(PATH, json={"max_keys_count": 30})
    seeded = Connection("kme-a", "kme-b", "sae-a", "sae-b", max_key_count=20, max_key_per_request=10)
    for site, sae in ((full.a, "sae-a"), (full.b, "sae-b")):
        site.entity.prepare([sae], [seeded])
        assert known(site)["max_keys_count"] == 30


# Suspension


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_suspended_connection_gives_400_at_both_ends_and_its_keys_remain(full, at):
    keys = take(full, 2).get_json()["keys"]
    operator = getattr(full, at).operator
    assert operator.patch(PATH, json={"suspended": True}).status_code == 200
    for answer in (take(full), fetch(full, keys), full.a.sae("sae-a").get("/api/v1/keys/sae-b/status")):
        assert answer.status_code == 400
        assert answer.get_json()["message"] == ("the connection from master SAE sae-a to slave SAE sae-b is suspended")
    assert stored(full) == 18
    assert operator.patch(PATH, json={"suspended": False}).status_code == 200
    assert fetch(full, keys).get_json() == {"keys": keys}
    assert take(full).status_code == 200


def test_a_suspended_sae_gets_401_in_every_process_at_once_and_its_keys_remain(full, make_site):
    keys = take(full, 2).get_json()["keys"]
    another_process = make_site("kme-b")
    assert another_process.sae("sae-b").get("/api/v1/keys/sae-a/status").status_code == 200
    assert full.b.operator.patch("/v1/saes/sae-b", json={"suspended": True}).get_json()["suspended"] is True
    body = {"key_IDs": [{"key_ID": keys[0]["key_ID"]}]}
    for site in (full.b, another_process):
        answer = site.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json=body)
        assert answer.status_code == 401
        assert "SAE sae-b is suspended" in answer.get_json()["message"]
    full.b.operator.patch("/v1/saes/sae-b", json={"suspended": False})
    assert fetch(full, keys).get_json() == {"keys": keys}


def test_a_suspended_connection_is_not_filled(full):
    full.a.operator.patch(PATH, json={"suspended": True})
    with full.a.entity.database.transaction() as sql:
        sql.execute("SELECT count(*) AS n FROM batch")
        before = sql.fetchone()["n"]
    full.a.operator.patch(PATH, json={"max_keys_count": 100})
    full.step(3)
    assert stored(full) == 20
    with full.a.entity.database.transaction() as sql:
        sql.execute("SELECT count(*) AS n FROM batch")
        assert sql.fetchone()["n"] == before


def test_a_change_whose_process_died_before_it_told_the_others_is_noticed_after_a_while(full):
    catalogue, now = full.a.entity.catalogue, [1_000.0]
    catalogue._clock, catalogue._start = lambda: now[0], lambda work: work()
    catalogue.refresh()
    with full.a.entity.database.transaction() as sql:
        sql.execute("UPDATE sae SET suspended = true")
    now[0] += 9
    assert take(full).status_code == 200
    now[0] += 2
    assert take(full).status_code == 401


def test_a_process_that_looks_again_in_vain_goes_on_delivering(full, monkeypatch):
    catalogue, now, tries = full.a.entity.catalogue, [1_000.0], []

    def fail():
        tries.append(now[0])
        raise Unavailable("Postgres does not answer: refused")

    catalogue._clock, catalogue._start = lambda: now[0], lambda work: work()
    catalogue.refresh()
    monkeypatch.setattr(full.a.entity.records, "saes", fail)
    for _ in range(6):
        now[0] += 4
        assert take(full).status_code == 200
    assert tries == [1_012.0, 1_024.0]


# Removal


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


def test_what_is_not_registered_is_404(full):
    nowhere = "/v1/connections/5f0c1b9e-0000-4000-8000-000000000000"
    for path in (nowhere, "/v1/saes/nobody"):
        for answer in (
            full.a.operator.get(path),
            full.a.operator.delete(path),
            full.a.operator.patch(path, json={"suspended": True}),
        ):
            assert answer.status_code == 404 and "is not registered at kme-a" in answer.get_json()["message"]


def test_an_sae_whose_id_has_a_slash_can_be_administered(network):
    network.a.operator.post("/v1/saes", json={"sae_id": "sae/one ä"})
    answer = network.a.operator.patch("/v1/saes/sae%2Fone%20%C3%A4", json={"requests_per_s": 3})
    assert answer.get_json()["limits"]["requests_per_s"] == 3
    assert network.a.operator.delete("/v1/saes/sae%2Fone%20%C3%A4").status_code == 200


def test_an_operator_may_not_reach_another_kmes_peer_listener_and_a_stranger_changes_nothing(full):
    state = {**known(full.a), "suspended": True, "revision": 9, "revised_by": "kme-z"}
    assert full.b.client(Identity("kme", "kme-z")).put(PATH, json=state).status_code == 401
    assert known(full.b)["suspended"] is False


@pytest.mark.parametrize("state", [{"suspended": True}, {"removed": True}])
def test_a_kme_has_no_say_in_a_connection_it_does_not_end(full, state):
    theirs = Connection("kme-c", "kme-b", "far", "sae-b")
    full.b.entity.records.add_connection(theirs)
    claimed = state_json(replace(theirs, source_kme_id="kme-a", revision=7, revised_by="kme-a", **state))
    answer = full.b.client(Identity("kme", "kme-a")).put(f"/v1/connections/{theirs.connection_id}", json=claimed)
    assert answer.status_code == 409 and "far" in answer.get_json()["message"]
    assert full.b.entity.records.connection_between("far", "sae-b") == theirs


@pytest.mark.parametrize("sae_id", ["%00", "sae-a%00", "x" * 256, "%0a"])
@pytest.mark.parametrize(("verb", "below"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/certificate")])
def test_what_can_be_no_sae_id_in_the_path_is_refused_before_any_store_sees_it(network, sae_id, verb, below):
    answer = network.a.operator.open(f"/v1/saes/{sae_id}{below}", method=verb, json={"suspended": True})
    assert answer.status_code == 400 and "SAE id in the path" in answer.get_json()["message"]
