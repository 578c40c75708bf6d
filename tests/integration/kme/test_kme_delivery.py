"""The three methods of ETSI GS QKD 014 against two whole KMEs."""

from __future__ import annotations

import base64
import logging
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

NOT_FOUND = "one or more keys specified are not found on KME"
STATUS = "/api/v1/keys/sae-b/status"
ENC = "/api/v1/keys/sae-b/enc_keys"
DEC = "/api/v1/keys/sae-a/dec_keys"


@pytest.fixture
def full(network):
    """The network with every pool at its high watermark."""
    network.step_until(lambda: all(stored_count(network, path) == 20 for path in ("ab", "ba")))
    return network


def stored_count(network, path="ab") -> int:
    site, master, slave = (network.a, "sae-a", "sae-b") if path == "ab" else (network.b, "sae-b", "sae-a")
    return site.sae(master).get(f"/api/v1/keys/{slave}/status").get_json()["stored_key_count"]


def take(network, **request):
    answer = network.a.sae("sae-a").post(ENC, json=request)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["keys"]


def fetch(network, *key_ids, sae="sae-b", path=DEC):
    body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
    return network.b.sae(sae).post(path, json=body)


def test_both_ends_hold_the_same_keys_and_they_come_from_the_blocks(full):
    keys = take(full, number=3)
    asked = [key["key_ID"] for key in reversed(keys)]
    assert fetch(full, *asked).get_json() == {"keys": keys[::-1]}
    for key in keys:
        bits = base64.b64decode(key["key"], validate=True)
        assert len(bits) == 32
        assert any(bits in block for block in full.qkde.blocks.values())


def test_no_two_keys_share_bits(full):
    keys = take(full, number=10) + take(full, number=10)
    assert len({key["key"] for key in keys}) == len({key["key_ID"] for key in keys}) == 20


def test_a_key_is_delivered_to_its_slave_only_once(full):
    (key,) = take(full)
    assert fetch(full, key["key_ID"]).status_code == 200
    again = fetch(full, key["key_ID"])
    assert (again.status_code, again.get_json()) == (400, {"message": NOT_FOUND})


def test_a_failed_dec_keys_consumes_nothing(full):
    first, second = take(full, number=2)
    missing = "00000000-0000-4000-8000-000000000000"
    assert fetch(full, first["key_ID"], second["key_ID"], missing).get_json() == {"message": NOT_FOUND}
    assert fetch(full, first["key_ID"], second["key_ID"]).status_code == 200


def test_a_master_may_not_fetch_its_own_key_as_a_slave(full):
    (key,) = take(full)
    answer = full.a.sae("sae-a").post("/api/v1/keys/sae-b/dec_keys", json={"key_IDs": [{"key_ID": key["key_ID"]}]})
    assert answer.status_code == 401
    assert answer.get_json()["message"]


def test_a_key_for_another_sae_is_refused_with_401_before_and_after_its_delivery(full):
    full.b.operator.post("/v1/saes", json={"sae_id": "sae-c"})
    register(full, slave_SAE_ID="sae-c")
    (key,) = take(full)
    assert fetch(full, key["key_ID"], sae="sae-c").status_code == 401
    assert fetch(full, key["key_ID"]).status_code == 200
    assert fetch(full, key["key_ID"], sae="sae-c").status_code == 401


def test_a_key_of_another_master_is_not_found_under_the_wrong_path(full):
    full.a.operator.post("/v1/saes", json={"sae_id": "sae-d"})
    register(full, master_SAE_ID="sae-d")
    (key,) = take(full)
    answer = fetch(full, key["key_ID"], path="/api/v1/keys/sae-d/dec_keys")
    assert (answer.status_code, answer.get_json()["message"]) == (400, NOT_FOUND)
    assert fetch(full, key["key_ID"]).status_code == 200


def register(network, **members):
    body = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": "sae-a", "slave_SAE_ID": "sae-b"}
    answer = network.a.operator.post("/register_connection", json=body | members)
    assert answer.status_code == 201, answer.get_json()


def test_the_status_has_the_standards_members_and_no_others(full):
    assert full.a.sae("sae-a").get(STATUS).get_json() == {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "sae-a",
        "slave_SAE_ID": "sae-b",
        "key_size": 256,
        "stored_key_count": 20,
        "max_key_count": 20,
        "max_key_per_request": 10,
        "max_key_size": 4096,
        "min_key_size": 8,
        "max_SAE_ID_count": 0,
    }


def test_too_few_keys_give_503_and_none_is_taken(full):
    take(full, number=10)
    take(full, number=8)
    answer = full.a.sae("sae-a").post(ENC, json={"number": 3})
    assert answer.status_code == 503
    assert answer.get_json()["details"] == [{"available_key_count": 2}]
    assert answer.headers["Retry-After"] == "1"
    assert stored_count(full) == 2


def test_get_does_what_post_does(full):
    keys = full.a.sae("sae-a").get(ENC, query_string={"number": "1", "size": "256"}).get_json()["keys"]
    fetched = full.b.sae("sae-b").get(DEC, query_string={"key_ID": keys[0]["key_ID"].upper()})
    assert fetched.get_json() == {"keys": keys}


def test_answers_are_compact_json(full):
    text = full.a.sae("sae-a").get(STATUS).text
    assert ": " not in text and ", " not in text


@pytest.mark.parametrize("method", ["head", "put", "delete", "patch", "options"])
@pytest.mark.parametrize("path", [ENC, DEC])
def test_another_verb_on_a_key_method_is_405_and_consumes_nothing(full, method, path):
    answer = getattr(full.a.sae("sae-a"), method)(path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST"}
    assert stored_count(full) == 20


def test_status_allows_get_alone(full):
    answer = full.a.sae("sae-a").post(STATUS)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("size", [8, 32, 128, 512, 4096])
def test_keys_of_another_size_are_cut_on_demand_and_equal_at_both_ends(full, size):
    keys = take(full, number=2, size=size)
    assert [len(base64.b64decode(key["key"])) * 8 for key in keys] == [size, size]
    assert fetch(full, *(key["key_ID"] for key in keys)).get_json() == {"keys": keys}
    assert stored_count(full) == 20
    full.assert_account_adds_up()


def test_where_bits_for_another_size_are_missing_the_reserve_is_filled_again_and_nothing_cut_is_lost(full):
    full.qkde.length_bits = 20_000
    wanted = {"number": 10, "size": 4096}
    first = full.a.sae("sae-a").post(ENC, json=wanted)
    while first.status_code == 200:  # uses up what is there
        first = full.a.sae("sae-a").post(ENC, json=wanted)
    assert first.status_code == 503
    full.step_until(lambda: full.a.sae("sae-a").post(ENC, json=wanted).status_code == 200)
    full.assert_account_adds_up()


def test_an_sae_that_is_not_registered_here_gets_401(full):
    assert full.a.sae("nobody").get(STATUS).status_code == 401
    assert full.a.sae("sae-b").get("/api/v1/keys/sae-a/status").status_code == 401
    assert full.a.sae("nobody").post(ENC).status_code == 401
    assert full.b.sae("nobody").get(DEC, query_string={"key_ID": "0" * 36}).status_code in (400, 401)


def test_an_sae_without_a_connection_gets_400_that_names_both(full):
    answer = full.a.sae("sae-a").get("/api/v1/keys/sae-x/status")
    assert answer.status_code == 400
    assert "sae-a" in answer.get_json()["message"] and "sae-x" in answer.get_json()["message"]


@pytest.mark.parametrize("sae_id", ["%00", "sae%00b", "x" * 256])
@pytest.mark.parametrize("method", ["status", "enc_keys", "dec_keys?key_ID=123e4567-e89b-42d3-a456-426614174000"])
def test_what_can_be_no_sae_id_in_a_path_is_400_and_names_it(network, sae_id, method):
    answer = network.a.sae("sae-a").get(f"/api/v1/keys/{sae_id}/{method}")
    assert answer.status_code == 400
    assert "the SAE ID in the path" in answer.get_json()["message"]


def test_sae_ids_survive_percent_encoding(full):
    strange = "sae/one?ä b%2F"
    full.b.operator.post("/v1/saes", json={"sae_id": strange})
    register(full, slave_SAE_ID=strange, max_keys_count=4)
    encoded = "sae%2Fone%3F%C3%A4%20b%252F"

    def status():
        return full.a.sae("sae-a").get(f"/api/v1/keys/{encoded}/status").get_json()

    full.step_until(lambda: status()["stored_key_count"] == 4)
    assert status()["slave_SAE_ID"] == strange
    keys = full.a.sae("sae-a").post(f"/api/v1/keys/{encoded}/enc_keys").get_json()["keys"]
    assert fetch(full, keys[0]["key_ID"], sae=strange).get_json() == {"keys": keys}


def test_many_callers_at_once_never_get_the_same_key(full):
    def take_one(_):
        return full.a.sae("sae-a").post(ENC).get_json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(take_one, range(30)))
    ids = [answer["keys"][0]["key_ID"] for answer in answers if "keys" in answer]
    assert len(ids) == len(set(ids)) == 20


def test_of_many_slaves_processes_asking_for_one_key_only_one_gets_it(full):
    (key,) = take(full)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fetch(full, key["key_ID"]).status_code, range(16)))
    assert sorted(answers) == [200] + [400] * 15


def test_no_key_bits_are_logged_or_stored_in_clear(full, caplog, databases):
    with caplog.at_level(logging.DEBUG):
        keys = take(full, number=2) + take(full, number=1, size=512)
        fetch(full, *(key["key_ID"] for key in keys))
        full.step()
    shown = caplog.text + dumped(databases)
    for key in keys:
        bits = base64.b64decode(key["key"])
        assert key["key"] not in shown and bits.hex() not in shown
        assert bits not in stored_bytes(full)


def stored_bytes(network) -> bytes:
    found = b""
    for site in (network.a, network.b):
        client = site.entity.keystore._redis
        found += b"".join(client.dump(name) for name in client.scan_iter())
    return found


def dumped(databases) -> str:
    text = ""
    for dsn in databases.values():
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            for table in ("audit", "block", "batch", "round_report"):
                cursor.execute(f"SELECT row_to_json(t)::text FROM {table} t")
                text += "".join(row[0] for row in cursor.fetchall())
        connection.close()
    return text


def test_every_delivery_is_in_the_audit_trail_once(full):
    (key,) = take(full)
    fetch(full, key["key_ID"])
    full.step(2)
    for site, role, sae in ((full.a, "master", "sae-a"), (full.b, "slave", "sae-b")):
        with site.entity.database.transaction() as sql:
            sql.execute("SELECT detail FROM audit WHERE event = 'keys_delivered' ORDER BY audit_id")
            (detail,) = [row["detail"] for row in sql.fetchall()]
        assert (detail["role"], detail["sae_id"], detail["key_ids"]) == (role, sae, [key["key_ID"]])


def test_delivery_needs_no_postgres_once_a_connection_is_known(full, restarted):
    restarted("kme-a")  # so that nothing is known but what the requests themselves looked up
    restarted("kme-b")
    (key,) = take(full)
    assert fetch(full, key["key_ID"]).status_code == 200
    for site in (full.a, full.b):
        site.entity.database.transaction = None  # any use would fail
    (key,) = take(full)
    assert fetch(full, key["key_ID"]).status_code == 200
