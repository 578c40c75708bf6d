"""Vendor extensions of a key request, against two whole KMEs whose key stores' clock stands still unless told."""

from __future__ import annotations

import pytest

from kme_steps import ask, assert_accounts, fetch

NOT_MET = "not all extension_mandatory request options could be met"
UNSUPPORTED = "not all extension_mandatory parameters are supported"


@pytest.fixture
def full(network):
    """Every pool at its high watermark, bits at hand, and both key stores' clocks in the hands of the test."""
    network.now_s = 1000.0
    for site in (network.a, network.b):
        site.entity.keystore._clock = lambda: network.now_s
    network.step_until(lambda: stored_count(network) == 20)
    network.step(3)
    return network


def stored_count(network):
    return network.a.sae("sae-a").get("/api/v1/keys/sae-b/status").get_json()["stored_key_count"]


def ask_young(network, max_age_ms, how="extension_mandatory", **request):
    return ask(network, "sae-a", "sae-b", **request, **{how: [{"qkdlab_max_age_ms": max_age_ms}]})


def pool(network):
    (name,) = [one for one in network.a.entity.keystore._redis.scan_iter("pool:*:256")]
    return [record[:16] for record in network.a.entity.keystore._redis.lrange(name, 0, -1)]


def uncut(network):
    return network.a.entity.block_records.uncut_key_count("kme-a", "a-b", 256)


def test_a_key_that_is_young_enough_comes_from_the_pool_without_the_peer(full):
    full.now_s += 0.5
    calls = len(full.a.peers["kme-b"].calls)
    keys = ask_young(full, 500, number=3).get_json()["keys"]
    assert len(full.a.peers["kme-b"].calls) == calls and stored_count(full) == 17
    assert fetch(full, "sae-b", "sae-a", keys).get_json() == {"keys": keys}


def test_older_keys_are_left_for_others_and_fresh_ones_are_cut(full):
    full.now_s += 0.501
    before = pool(full)
    keys = ask_young(full, 500, number=3).get_json()["keys"]
    assert pool(full) == before
    assert fetch(full, "sae-b", "sae-a", keys).get_json() == {"keys": keys}
    assert_accounts(full)


def test_the_youngest_are_given_and_the_oldest_go_to_who_asks_for_no_age(full):
    full.now_s += 10
    ask(full, "sae-a", "sae-b", number=10)
    ask(full, "sae-a", "sae-b", number=1)
    full.step_until(lambda: stored_count(full) == 20)
    old, young = pool(full)[:9], pool(full)[9:]
    given = ask_young(full, 1000, number=5).get_json()["keys"]
    assert {key["key_ID"].replace("-", "") for key in given} == {one.hex() for one in young[-5:]}
    given = ask(full, "sae-a", "sae-b", number=5).get_json()["keys"]
    assert [key["key_ID"].replace("-", "") for key in given] == [one.hex() for one in old[:5]]


def test_where_none_can_be_cut_the_answer_is_400_in_the_standards_words_and_nothing_is_taken(full):
    full.now_s += 10
    uncut_blocks_gone(full)
    answer = ask_young(full, 500, number=2)
    assert (answer.status_code, answer.get_json()["message"]) == (400, NOT_MET)
    assert answer.get_json()["details"] == [{"qkdlab_max_age_ms": "0 of 20 keys are not older than 500 ms"}]
    assert stored_count(full) == 20


def uncut_blocks_gone(network):
    with network.a.entity.database.transaction() as sql:
        sql.execute("UPDATE block SET cursor_bits = length_bits WHERE owner_kme_id = 'kme-a'")


def test_where_there_are_no_keys_at_all_it_is_503_as_without_the_extension(full):
    uncut_blocks_gone(full)
    ask(full, "sae-a", "sae-b", number=10)
    ask(full, "sae-a", "sae-b", number=9)
    answer = ask_young(full, 500, number=2)
    assert answer.status_code == 503 and answer.get_json()["details"] == [{"available_key_count": 1}]


def test_a_caller_whom_no_key_is_young_enough_for_cannot_have_all_bits_cut(full, monkeypatch):
    real = full.a.entity.keystore.take_keys

    def late(*arguments, **options):
        full.now_s += 1
        return real(*arguments, **options)

    monkeypatch.setattr(full.a.entity.keystore, "take_keys", late)
    before = uncut(full)
    for _ in range(10):
        assert ask_young(full, 500, number=10).status_code == 400
    assert 0 < before - uncut(full) <= 10


def test_an_optional_age_is_met_where_it_can_be_and_otherwise_ignored(full):
    full.now_s += 10
    before = pool(full)
    calls = len(full.a.peers["kme-b"].calls)
    assert ask_young(full, 500, "extension_optional").status_code == 200
    assert pool(full) == before[1:] and len(full.a.peers["kme-b"].calls) == calls


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        ({"qkdlab_route_type": "indirect"}, NOT_MET),
        ({"qkdlab_max_age_ms": None}, NOT_MET),
        ({"qkdlab_route_type": "direct", "abc_route_type": "direct"}, UNSUPPORTED),
    ],
)
def test_what_is_mandatory_and_cannot_be_gives_400_and_takes_nothing(full, extension, message):
    answer = ask(full, "sae-a", "sae-b", extension_mandatory=[extension])
    assert (answer.status_code, answer.get_json()["message"]) == (400, message)
    assert stored_count(full) == 20
    optional = ask(full, "sae-a", "sae-b", extension_optional=[extension])
    assert optional.status_code == 200


def test_a_direct_route_is_met(full):
    assert ask(full, "sae-a", "sae-b", extension_mandatory=[{"qkdlab_route_type": "direct"}]).status_code == 200
