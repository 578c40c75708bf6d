"""The quick API against two whole KMEs: connections that SAEs register themselves, and a key a call."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from mutual_tls.identity import Identity

from kme_steps import pool_ids

BODY = {
    "source_KME_ID": "sender_app", "target_KME_ID": "receiver_app", "master_SAE_ID": "ghi", "slave_SAE_ID": "jkl",
    "key_size": 8, "max_keys_count": 10, "max_key_per_request": 1, "max_SAE_ID_count": 0,
}  # fmt: skip


@pytest.fixture
def site_settings():
    return {"kme_names": {"sender_app": "kme-a", "receiver_app": "kme-b"}}


@pytest.fixture
def quick(network):
    """The network with the SAEs ghi at a and jkl at b, connected by the quick API, and full pools."""
    for site, sae in ((network.a, "ghi"), (network.b, "jkl")):
        assert site.operator.post("/v1/saes", json={"sae_id": sae}).status_code == 201
    assert network.a.sae("ghi").post("/register_connection", json=BODY).status_code == 201
    network.step_until(lambda: stored(network) == 10)
    return network


def stored(network) -> int:
    return network.a.sae("ghi").get("/api/v1/keys/jkl/status").get_json()["stored_key_count"]


def get_key(site, sae, **query):
    return site.sae(sae).get("/get_key", query_string=query)


def test_an_sae_registers_its_connection_and_the_kmes_fill_it_by_themselves(quick):
    answer = quick.a.sae("ghi").post("/register_connection", json=BODY)
    connection = quick.a.entity.catalogue.between("ghi", "jkl")
    assert (answer.status_code, answer.get_json()) == (200, BODY | {
        "source_KME_ID": "kme-a", "target_KME_ID": "kme-b",
        "connection_id": str(connection.connection_id), "stored_key_count": 10,
    })  # fmt: skip
    assert len(pool_ids(quick)) == 20  # the others' connections go on


def test_the_slave_may_register_the_connection_at_its_kme(network):
    for site, sae in ((network.a, "ghi"), (network.b, "jkl")):
        site.operator.post("/v1/saes", json={"sae_id": sae})
    assert network.b.sae("jkl").post("/register_connection", json=BODY).status_code == 201
    assert network.a.sae("ghi").post("/register_connection", json=BODY).status_code == 200


def test_master_and_slave_get_the_same_key_once_each(quick):
    new = get_key(quick.a, "ghi", slave_host="jkl")
    assert new.status_code == 200 and set(new.get_json()) == {"key_id", "key_data"}
    assert len(base64.b64decode(new.get_json()["key_data"], validate=True)) == 1
    key_id = new.get_json()["key_id"]
    assert str(UUID(key_id)) == key_id
    assert get_key(quick.b, "jkl", key_id=key_id.upper()).get_json() == new.get_json()
    again = get_key(quick.b, "jkl", key_id=key_id)
    assert again.status_code == 400 and "not found" in again.get_json()["message"]
    assert stored(quick) == 9
    quick.assert_account_adds_up()


def test_a_key_of_a_multiple_of_the_connections_size_is_equal_at_both_ends(quick):
    for size in (8, 16, 64, 4096):
        new = get_key(quick.a, "ghi", slave_host="jkl", key_size=size).get_json()
        assert 8 * len(base64.b64decode(new["key_data"])) == size
        assert get_key(quick.b, "jkl", key_id=new["key_id"]).get_json() == new
    quick.assert_account_adds_up()


def test_a_size_that_is_no_multiple_of_the_connections_gets_400(network):
    network.step_until(lambda: network.a.entity.pool_count(network.a.entity.catalogue.between("sae-a", "sae-b")) == 20)
    assert get_key(network.a, "sae-a", slave_host="sae-b", key_size=512).status_code == 200
    answer = get_key(network.a, "sae-a", slave_host="sae-b", key_size=128)
    assert answer.status_code == 400 and "multiple of the connection's 256 bits" in answer.get_json()["message"]


# Who is who


@pytest.mark.parametrize("caller", ["sae-a", "stranger"])
def test_nobody_registers_a_connection_for_others(quick, caller):
    body = BODY | {"slave_SAE_ID": "sae-b"}
    answer = quick.a.sae(caller).post("/register_connection", json=body)
    assert answer.status_code == 401
    assert quick.a.entity.records.connection_between("ghi", "sae-b") is None


def test_a_key_is_not_given_to_another_than_its_slave(quick):
    key_id = get_key(quick.a, "ghi", slave_host="jkl").get_json()["key_id"]
    for site, sae in ((quick.b, "sae-b"), (quick.a, "ghi"), (quick.a, "sae-a"), (quick.b, "unregistered")):
        assert get_key(site, sae, key_id=key_id).status_code == 401
    assert get_key(quick.b, "jkl", key_id=key_id).status_code == 200


def test_a_kme_an_operator_or_nobody_is_no_sae(quick):
    for role in ("kme", "operator", "qkde"):
        client = quick.a.apps["sae"].test_client()
        client.environ_base["qkd.caller"] = Identity(role, "ghi")
        assert client.get("/get_key", query_string={"slave_host": "jkl"}).status_code == 401
    assert quick.a.apps["sae"].test_client().get("/get_key").status_code == 401


# What is malformed: each table against one network, and at its end nothing was changed

BAD_BODIES = [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"key_size":8,"key_size":8}', b"[" * 5000]
BAD_MEMBERS = [
    {"source_KME_ID": None},
    {"source_KME_ID": 1},
    {"source_KME_ID": "kme-z"},
    {"target_KME_ID": "sender_appp"},
    {"source_KME_ID": "receiver_app", "target_KME_ID": "kme-z"},
    {"slave_SAE_ID": None},
    {"slave_SAE_ID": ""},
    {"slave_SAE_ID": "j\nl"},
    {"slave_SAE_ID": "x" * 256},
    {"slave_SAE_ID": ["jkl"]},
    {"key_size": 0},
    {"key_size": 7},
    {"key_size": 4104},
    {"key_size": "8"},
    {"key_size": True},
    {"key_size": 8.0},
    {"key_size": -8},
    {"max_keys_count": 0},
    {"max_keys_count": 100_001},
    {"max_keys_count": 10**30},
    {"max_key_per_request": 0},
    {"max_key_per_request": 11},
    {"max_SAE_ID_count": -1},
    {"max_SAE_ID_count": {}},
    {"TTL": "soon"},
]
SOME_ID = "00000000-0000-4000-8000-000000000000"
BAD_QUERIES = [
    "",
    "slave_host=",
    "slave_host=nobody",
    "slave_host=jkl&slave_host=jkl",
    "slave_host=j%0Al",
    "slave_host=ghi",
    f"slave_host=jkl&key_id={SOME_ID}",
    "key_id=",
    "key_id=1234",
    "key_id=%7B%7D",
    f"key_id={SOME_ID}",
    f"key_id={SOME_ID.replace('-', '')}",
    f"key_id={SOME_ID}&key_id={SOME_ID}",
    "slave_host=jkl&key_size=8&key_size=8",
    "slave_host=%FF",
    f"slave_host={'x' * 256}",
    "slave=jkl",
    *(
        f"slave_host=jkl&key_size={size}"
        for size in ("0", "-8", "12", "4104", "256.0", "1e3", "", "%EF%BC%98", "9" * 30)
    ),
]


def test_bodies_that_are_no_connections_get_400(quick):
    for body in BAD_BODIES:
        refused(quick.a.sae("ghi").post("/register_connection", data=body), body)


def test_bad_members_of_a_connection_get_400_and_nothing_is_registered(network):
    for site, sae in ((network.a, "ghi"), (network.b, "jkl")):
        site.operator.post("/v1/saes", json={"sae_id": sae})
    for members in BAD_MEMBERS:
        refused(network.a.sae("ghi").post("/register_connection", json=BODY | members), members)
    assert len(network.a.entity.records.connections()) == len(network.b.entity.records.connections()) == 2


def test_bad_queries_get_400_and_no_key(quick):
    for query in BAD_QUERIES:
        refused(quick.a.sae("ghi").get(f"/get_key?{query}"), query)
    assert stored(quick) == 10


def refused(answer, what):
    assert (answer.status_code, bool(answer.get_json()["message"])) == (400, True), (what, answer.text)


def test_another_verb_is_405_and_consumes_nothing(quick):
    for verb, path, allowed in (
        ("head", "/get_key?slave_host=jkl", "GET"),
        ("post", "/get_key?slave_host=jkl", "GET"),
        ("get", "/register_connection", "POST"),
        ("delete", "/register_connection", "POST"),
    ):
        answer = getattr(quick.a.sae("ghi"), verb)(path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), (verb, path)
    assert stored(quick) == 10


def test_a_connection_that_contradicts_the_one_that_is_there_gets_409(quick):
    answer = quick.a.sae("ghi").post("/register_connection", json=BODY | {"key_size": 16})
    assert answer.status_code == 409 and "key_size_bits: 8, not 16" in answer.get_json()["message"]


def test_too_few_keys_give_503_with_retry_after(network):
    answer = get_key(network.a, "sae-a", slave_host="sae-b")
    assert answer.status_code == 503 and answer.headers["Retry-After"]


def test_a_body_with_a_get_is_read_and_ignored(quick):
    answer = quick.a.sae("ghi").get("/get_key?slave_host=jkl", data=b"{not json")
    assert answer.status_code == 200
