"""Two SAEs at one KME, and one SAE alone: keys from a link's block, whose copy the peer destroys."""

from __future__ import annotations

import pytest

from kme_steps import ask, assert_accounts, connected, fetch, last_batch, post

PAIRS = [("sae-a", "third-a"), ("sae-a", "sae-a")]


def stored_count(network, master, slave):
    return network.a.sae(master).get(f"/api/v1/keys/{slave}/status").get_json()["stored_key_count"]


def filled(network, master, slave, **members):
    connected(network, master, slave, **members)
    network.step_until(lambda: stored_count(network, master, slave) == 20)
    return network


@pytest.mark.parametrize(("master", "slave"), PAIRS)
def test_both_get_the_same_keys_each_once_and_the_peer_keeps_nothing_of_them(network, master, slave):
    filled(network, master, slave)
    keys = ask(network, master, slave, number=4).get_json()["keys"]
    assert fetch(network, slave, master, keys).get_json() == {"keys": keys}
    again = fetch(network, slave, master, keys)
    assert (again.status_code, again.get_json()["message"]) == (400, "one or more keys specified are not found on KME")
    assert network.a.entity.account().copied == 20 * 256
    assert network.a.entity.account().delivered == 2 * 4 * 256
    assert network.b.entity.account().destroyed == 20 * 256
    assert_accounts(network)


def test_the_status_of_one_site_names_its_kme_twice(network):
    filled(network, "sae-a", "sae-a")
    status = network.a.sae("sae-a").get("/api/v1/keys/sae-a/status").get_json()
    ends = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
    assert [status[name] for name in ends] == ["kme-a", "kme-a", "sae-a", "sae-a"]


def test_the_peer_is_told_of_bits_to_destroy_and_of_no_sae_that_gets_them(network):
    filled(network, "sae-a", "third-a")
    batches = [body for _, path, body in network.a.peers["kme-b"].calls if path == "/v1/batches"]
    (local,) = [batch for batch in batches if batch["slave_sae_id"] == "third-a"]
    assert local["recipients"] == []
    before = network.b.entity.account()
    assert post(network, "/v1/batches", local).get_json() == {"state": "committed"}
    assert network.b.entity.account() == before
    assert fetch(network, "sae-b", "sae-a", [{"key_ID": local["key_ids"][0]}]).status_code == 400


def test_the_peer_refuses_to_destroy_for_a_master_of_its_own(network):
    filled(network, "sae-a", "third-a")
    stolen = last_batch(network) | {"master_sae_id": "sae-b"}
    assert post(network, "/v1/batches", stolen).status_code == 409


def test_pools_of_one_site_stay_filled(network):
    filled(network, "sae-a", "third-a")
    for _ in range(11):
        ask(network, "sae-a", "third-a")
    assert stored_count(network, "sae-a", "third-a") == 9
    network.step_until(lambda: stored_count(network, "sae-a", "third-a") == 20)


def test_keys_of_another_size_and_for_additional_slaves_at_both_kmes(network):
    filled(network, "sae-a", "third-a", max_sae_id_count=2)
    network.step_until(lambda: ask(network, "sae-a", "third-a", size=512).status_code == 200)
    keys = ask(network, "sae-a", "third-a", size=512).get_json()["keys"]
    assert fetch(network, "third-a", "sae-a", keys).get_json() == {"keys": keys}
    keys = ask(network, "sae-a", "third-a", additional_slave_SAE_IDs=["sae-b", "sae-a"]).get_json()["keys"]
    for sae_id in ("sae-b", "third-a", "sae-a"):
        assert fetch(network, sae_id, "sae-a", keys).get_json() == {"keys": keys}
        assert fetch(network, sae_id, "sae-a", keys).status_code == 400
    assert_accounts(network)


def test_the_master_is_not_entitled_to_the_copy_of_another_sae_here(network):
    filled(network, "sae-a", "third-a")
    keys = ask(network, "sae-a", "third-a").get_json()["keys"]
    connected(network, "third-a", "sae-a")
    assert fetch(network, "sae-a", "third-a", keys).status_code == 401
    assert fetch(network, "third-a", "sae-a", keys).status_code == 200


def test_registering_needs_no_peer_but_both_saes(network):
    network.a.peers["kme-b"].faults = ["refuse"]
    connected(network, "sae-a", "third-a")
    network.a.peers["kme-b"].faults = []
    body = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-a", "master_SAE_ID": "sae-a", "slave_SAE_ID": "nobody"}
    answer = network.a.operator.post("/register_connection", json=body)
    assert answer.status_code == 400 and "SAE nobody is not registered at kme-a" in answer.get_json()["message"]
    assert [one["slave_SAE_ID"] for one in network.b.operator.get("/v1/connections").get_json()] == ["sae-b", "sae-a"]
