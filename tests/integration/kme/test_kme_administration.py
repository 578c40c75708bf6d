"""Operators change, suspend and remove SAEs and connections; what one KME is told comes through at the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kme.errors import Unavailable
from kme.model import Connection
from kme.peer_wire import state_json
from mutual_tls.identity import Identity

from administration_steps import PATH, fetch, known, stored, take


@pytest.fixture
def full(network):
    network.step_until(lambda: stored(network) == 20)
    return network


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


# Whatever is not there, or not theirs


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
