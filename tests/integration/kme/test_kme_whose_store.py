"""A process of the API changes nothing in a Redis that is another KME's, or that may be an old copy of its own."""

from __future__ import annotations

import pytest

from administration_steps import ENC, PATH, stored, take


@pytest.fixture
def full(network):
    network.step_until(lambda: stored(network) == 20)
    return network


@pytest.fixture(params=["another KME's", "not compared since it started"])
def not_ours(request, full):
    """Site a's key store is; called, it is as it was again."""
    name, field = ("kek", None) if request.param == "another KME's" else ("witness", "checked")
    with full.a.entity.keystore.answering() as store:
        before = store.hget(name, field) if field else store.get(name)
        put = (lambda value: store.hset(name, field, value)) if field else (lambda value: store.set(name, value))
    put(b"0" * len(before))
    return lambda: put(before)


def in_store(site, *names):
    with site.entity.keystore.answering() as store:
        return [store.exists(name) for name in names]


def test_an_operator_s_removal_waits_for_the_right_store(full, not_ours):
    answer = full.a.operator.delete(PATH)
    assert answer.status_code == 202 and answer.get_json()["destroyed_key_count"] is None
    assert in_store(full.a, "removed", "revisions") == [0, 0]
    assert full.a.entity.account().destroyed == 0
    not_ours()
    full.step_until(lambda: full.a.entity.account().destroyed == 20 * 256)
    full.assert_account_adds_up()


def test_what_limits_have_counted_stays_when_an_sae_is_removed(full, not_ours):
    with full.a.entity.keystore.answering() as store:
        store.hset("calls:sae-a", "tokens", "1")
        store.hset("quota:sae-a", "bits", "1")
    full.a.operator.delete("/v1/saes/sae-a")
    assert in_store(full.a, "calls:sae-a", "quota:sae-a") == [1, 1]


def test_refused_calls_are_counted_when_the_right_store_is_back(full, not_ours):
    wrong = ENC.replace("sae-b", "nobody")
    assert full.a.sae("sae-a").post(wrong, json={}).status_code == 400
    assert in_store(full.a, "refusals") == [0]
    not_ours()
    assert take(full, 1).status_code == 200
    assert full.a.sae("sae-a").post(wrong, json={}).status_code == 400
    with full.a.entity.keystore.answering() as store:
        assert sum(int(count) for kind, count in store.hgetall("refusals").items() if kind.startswith(b"{")) == 2
