"""The feed of events for somebody who watches a KME."""

import pytest

from kme_steps import filled


def events(network, query=""):
    answer = network.a.operator.get(f"/v1/events{query}")
    assert answer.status_code == 200
    return answer.get_json()


@pytest.fixture
def told(network):
    filled(network)
    keys = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"number": 3}).get_json()["keys"]
    while network.a.entity.audit.drain():
        pass
    return network, keys


def test_the_newest_events_come_oldest_first_and_then_those_after_them(told):
    network, _ = told
    newest = events(network, "?count=5")
    numbers = [one["id"] for one in newest]
    assert len(newest) == 5 and numbers == sorted(numbers)
    assert newest[-1]["event"] == "keys_delivered"
    assert events(network, f"?after={numbers[-1]}") == []
    assert events(network, f"?after={numbers[0]}&count=2") == newest[1:3]


def test_a_delivery_tells_who_took_how_many_keys_and_no_key(told):
    network, keys = told
    delivered = events(network)[-1]["detail"]
    assert delivered["sae_id"] == "sae-a" and delivered["role"] == "master"
    assert delivered["key_count"] == 3 and delivered["key_id"] == keys[0]["key_ID"]
    everything = network.a.operator.get("/v1/events?count=500").get_data(as_text=True)
    assert not any(key["key"] in everything for key in keys)
    assert keys[1]["key_ID"] not in everything, "the first of an event's keys stands for all"


@pytest.mark.parametrize("query", ["after=-1", "after=x", "count=0", "count=501", f"after={10**30}", "after=٣"])
def test_a_bad_query_is_refused_by_its_name(network, query):
    answer = network.a.operator.get(f"/v1/events?{query}")
    assert answer.status_code == 400 and query.partition("=")[0] in answer.get_json()["message"]
