"""Registration at one KME makes a connection known at both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kme.errors import BadRequest, Conflict
from kme.model import Connection
from mutual_tls.identity import Identity

PATH = "/register_connection"


def connection(**changes):
    members = {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "mail-a",
        "slave_SAE_ID": "mail-b",
        "key_size": 128,
        "max_keys_count": 10,
        "max_key_per_request": 5,
        "max_SAE_ID_count": 0,
    }
    return {name: value for name, value in (members | changes).items() if value is not None}


@pytest.fixture
def with_saes(network):
    for site, sae_id in ((network.a, "mail-a"), (network.b, "mail-b")):
        assert site.operator.post("/v1/saes", json={"sae_id": sae_id}).status_code == 201
    return network


def known(site):
    """As they were registered: without what administration adds."""
    found = [one for one in site.operator.get("/v1/connections").get_json() if one["master_SAE_ID"] == "mail-a"]
    return [{name: one[name] for name in one if name not in ("suspended", "revision")} for one in found]


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_connection_registered_at_either_kme_is_known_at_both(with_saes, at):
    answer = getattr(with_saes, at).operator.post(PATH, json=connection(Priority=3, Max_bps=1000))
    assert answer.status_code == 201
    body = answer.get_json()
    assert body.pop("connection_id")
    assert body == connection(Priority=3, Max_bps=1000, stored_key_count=0)
    assert known(with_saes.a) == known(with_saes.b) == [answer.get_json()]


def test_keys_flow_on_a_connection_registered_while_running(with_saes):
    with_saes.a.operator.post(PATH, json=connection())
    with_saes.step_until(lambda: known(with_saes.a)[0]["stored_key_count"] == 10)
    (key,) = with_saes.a.sae("mail-a").post("/api/v1/keys/mail-b/enc_keys").get_json()["keys"]
    asked = {"key_IDs": [{"key_ID": key["key_ID"]}]}
    fetched = with_saes.b.sae("mail-b").post("/api/v1/keys/mail-a/dec_keys", json=asked)
    assert fetched.get_json() == {"keys": [key]}


def test_registering_the_same_again_is_fine_even_without_the_peer(with_saes):
    first = with_saes.a.operator.post(PATH, json=connection())
    with_saes.a.peers["kme-b"].faults = ["refuse"]
    again = with_saes.a.operator.post(PATH, json=connection())
    assert (again.status_code, again.get_json()) == (200, first.get_json())


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_contradiction_is_refused_with_the_member_and_both_values(with_saes, at):
    with_saes.a.operator.post(PATH, json=connection())
    answer = getattr(with_saes, at).operator.post(PATH, json=connection(key_size=256))
    assert answer.status_code == 409
    message = answer.get_json()["message"]
    assert "key_size" in message and "128" in message and "256" in message
    assert known(with_saes.a)[0]["key_size"] == known(with_saes.b)[0]["key_size"] == 128


def test_a_contradiction_that_only_the_peer_knows_is_refused_and_nothing_is_stored(with_saes):
    with_saes.b.operator.post(PATH, json=connection())
    with with_saes.a.entity.database.transaction() as sql:
        sql.execute("DELETE FROM connection WHERE master_sae_id = 'mail-a'")
    answer = with_saes.a.operator.post(PATH, json=connection(max_keys_count=20))
    assert answer.status_code == 409
    assert not known(with_saes.a)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"key_size": 12}, "key_size: expected a multiple of 8"),
        ({"slave_SAE_ID": "mail\0b"}, "slave_SAE_ID"),
        ({"key_size": 0}, "key_size: expected 8..4096"),
        ({"key_size": 4104}, "key_size: expected 8..4096"),
        ({"key_size": "256"}, "key_size: expected an integer"),
        ({"key_size": True}, "key_size: expected an integer"),
        ({"max_keys_count": 0}, "max_keys_count: expected 1..100000"),
        ({"max_key_per_request": 11}, "max_key_per_request: expected 1..10"),
        ({"max_SAE_ID_count": 33}, "max_SAE_ID_count: expected 0..32"),
        ({"master_SAE_ID": None}, "master_SAE_ID is missing"),
        ({"master_SAE_ID": ""}, "master_SAE_ID"),
        ({"slave_SAE_ID": 7}, "slave_SAE_ID: expected a string"),
        ({"target_KME_ID": "kme-z"}, "target_KME_ID: no link leads from kme-a to kme-z: expected one of kme-b"),
        ({"source_KME_ID": "kme-y"}, "expected one of them to be kme-a"),
        ({"target_KME_ID": "kme-a"}, "slave_SAE_ID: SAE mail-b is not registered at kme-a"),
        ({"Priority": -1}, "Priority"),
        ({"TTL": "soon"}, "TTL"),
        ({"master_SAE_ID": "nobody"}, "master_SAE_ID: SAE nobody is not registered at kme-a: register it there first"),
        ({"slave_SAE_ID": "nobody"}, "slave_SAE_ID: SAE nobody is not registered at kme-b: register it there first"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_nothing_is_registered(with_saes, changes, named):
    answer = with_saes.a.operator.post(PATH, json=connection(**changes))
    assert answer.status_code == 400
    assert named in answer.get_json()["message"]
    assert len(with_saes.a.operator.get("/v1/connections").get_json()) == 2
    assert len(with_saes.b.operator.get("/v1/connections").get_json()) == 2


def test_without_the_peer_nothing_is_registered_and_the_answer_says_so(with_saes):
    with_saes.a.peers["kme-b"].faults = ["refuse"]
    answer = with_saes.a.operator.post(PATH, json=connection())
    assert answer.status_code == 503
    assert "nothing was registered" in answer.get_json()["message"]
    assert not known(with_saes.a)
    assert with_saes.a.operator.post(PATH, json=connection()).status_code == 201


def test_a_registration_whose_answer_was_lost_is_completed_by_registering_again(with_saes):
    with_saes.a.peers["kme-b"].faults = ["lose"]
    assert with_saes.a.operator.post(PATH, json=connection()).status_code == 503
    assert with_saes.a.operator.post(PATH, json=connection()).status_code == 201
    assert known(with_saes.a) == known(with_saes.b)


def test_a_kme_can_register_only_connections_that_it_ends(with_saes):
    elsewhere = connection(source_KME_ID="kme-x")
    path = "/v1/connections/5f0c1b9e-0000-4000-8000-000000000000"
    answer = with_saes.b.client(Identity("kme", "kme-a")).put(path, json=elsewhere)
    assert answer.status_code == 400
    assert len(with_saes.b.operator.get("/v1/connections").get_json()) == 2


def test_sae_ids_and_seeds_may_be_registered_twice(with_saes):
    assert with_saes.a.operator.post("/v1/saes", json={"sae_id": "mail-a"}).status_code == 200
    with_saes.a.entity.prepare(["sae-a", "mail-a"])
    saes = [one["sae_id"] for one in with_saes.a.operator.get("/v1/saes").get_json()]
    assert saes == ["mail-a", "sae-a"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key_size_bits": 100}, "key_size: expected a multiple of 8 in 8..4096, got 100"),
        ({"max_key_count": 0}, "max_keys_count: expected 1..100000, got 0"),
        ({"max_key_count": 5, "max_key_per_request": 6}, "max_key_per_request: expected 1..5, got 6"),
        ({"max_sae_id_count": 33}, "max_SAE_ID_count: expected 0..32, got 33"),
    ],
)
def test_a_connection_of_the_topology_over_a_limit_is_refused_in_words_and_not_registered(network, change, said):
    seeded = Connection("kme-a", "kme-b", "mail-a", "sae-b")
    with pytest.raises(BadRequest) as refused:
        network.a.entity.prepare(["mail-a"], [replace(seeded, **change)])
    assert refused.value.message == f"the topology's connection from 'mail-a' to 'sae-b': {said}"
    assert not known(network.a)


def test_an_sae_of_the_topology_that_can_be_none_is_refused_in_words(network):
    with pytest.raises(BadRequest, match="sae_id: expected an SAE id of 1..255 printable"):
        network.a.entity.prepare(["mail\0a"])


def test_an_sae_that_lives_at_another_kme_is_refused_with_409_that_names_it(network):
    for site, own, sae_id, home in ((network.a, "sae-a", "sae-b", "kme-b"), (network.b, "sae-b", "sae-a", "kme-a")):
        answer = site.operator.post("/v1/saes", json={"sae_id": sae_id})
        assert answer.status_code == 409
        assert f"SAE {sae_id} is at {home}" in answer.get_json()["message"]
        assert [one["sae_id"] for one in site.operator.get("/v1/saes").get_json()] == [own]
        with pytest.raises(Conflict, match=f"is at {home}"):
            site.entity.prepare([sae_id])


def test_a_connection_to_an_sae_of_the_other_kme_that_is_registered_here_is_refused(with_saes):
    assert with_saes.b.operator.post("/v1/saes", json={"sae_id": "twice"}).status_code == 201
    assert with_saes.a.operator.post("/v1/saes", json={"sae_id": "twice"}).status_code == 201
    answer = with_saes.a.operator.post(PATH, json=connection(slave_SAE_ID="twice"))
    assert answer.status_code == 409 and "SAE twice is at kme-a" in answer.get_json()["message"]
    assert not known(with_saes.a) and not known(with_saes.b)


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"sae_id": 1}', '{"sae_id": ""}', "null", '{"sae_id": "a\\u0000b"}', '{"sae_id": "\\ud800"}'],
)
def test_a_malformed_sae_is_refused(network, body):
    assert network.a.operator.post("/v1/saes", data=body).status_code == 400
