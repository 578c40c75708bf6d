"""What one SAE may use, shared by all processes of its KME; and the record of the calls that were refused."""

from __future__ import annotations

import json

import pytest

from kme.errors import Unavailable
from kme.model import SaeLimits

ENC = "/api/v1/keys/sae-b/enc_keys"
STATUS = "/api/v1/keys/sae-b/status"


@pytest.fixture
def clock(network):
    """Site a's, in milliseconds."""
    now = [1_700_000_000_000]
    network.a.entity.keystore._clock = lambda: now[0] / 1000
    return now


@pytest.fixture
def full(network, clock):
    network.step_until(lambda: network.a.entity.account().stored == 2 * 20 * 256)
    return network


def limit(network, **limits):
    answer = network.a.operator.patch("/v1/saes/sae-a", json=limits)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def call(network, path=STATUS):
    return network.a.sae("sae-a").get(path)


def take(network, **request):
    return network.a.sae("sae-a").post(ENC, json=request)


def statuses(network, count, path=STATUS):
    return [call(network, path).status_code for _ in range(count)]


# Calls a second


def test_without_a_limit_calls_are_not_counted(full):
    assert set(statuses(full, 50)) == {200}
    assert not full.a.entity.keystore._redis.exists("calls:sae-a")


def test_calls_over_the_rate_get_429_with_the_time_to_wait_and_cost_no_key(full, clock):
    limit(full, requests_per_s=2, request_burst=3)
    assert statuses(full, 3) == [200] * 3
    answer = take(full)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert "2 calls a second" in answer.get_json()["message"]
    assert full.a.operator.get("/v1/status").get_json()["pools"][0]["stored_key_count"] == 20
    clock[0] += 500
    assert statuses(full, 2) == [200, 429]


def test_refused_calls_do_not_put_off_the_next_that_passes(full, clock):
    limit(full, requests_per_s=1, request_burst=2)
    statuses(full, 2)
    for _ in range(10):
        clock[0] += 90
        assert call(full).status_code == 429
    clock[0] += 100
    assert call(full).status_code == 200


def test_the_limit_is_one_for_all_processes(full, clock, make_site):
    other = make_site("kme-a")
    other.entity.keystore._clock = lambda: clock[0] / 1000
    limit(full, requests_per_s=1, request_burst=4)
    answers = [site.sae("sae-a").get(STATUS).status_code for site in (full.a, other) * 3]
    assert answers == [200] * 4 + [429] * 2


def test_each_sae_has_a_limit_of_its_own(full):
    full.a.operator.post("/v1/saes", json={"sae_id": "sae-c"})
    limit(full, requests_per_s=1, request_burst=2)
    assert statuses(full, 3)[-1] == 429
    assert full.a.sae("sae-c").get(STATUS).status_code == 400  # not connected, but heard


def test_a_client_that_repeats_a_failed_call_five_times_is_not_locked_out(full):
    limit(full, requests_per_s=1, request_burst=2)
    assert statuses(full, 5, "/api/v1/keys/nobody/enc_keys") == [400] * 5
    assert take(full).status_code == 200


def test_calls_that_fail_are_limited_as_well(full):
    limit(full, requests_per_s=1, request_burst=2)
    assert statuses(full, 30, "/api/v1/keys/nobody/status").count(400) <= 10


def test_the_rate_can_be_changed_and_taken_back_to_the_default(full):
    shown = limit(full, requests_per_s=1, request_burst=2)
    assert shown["limits"]["requests_per_s"] == 1
    statuses(full, 3)
    assert limit(full, requests_per_s=None)["effective_limits"]["requests_per_s"] is None
    assert call(full).status_code == 200


def test_an_sae_without_limits_of_its_own_has_the_kmes():
    mine, default = SaeLimits(requests_per_s=5), SaeLimits(requests_per_s=1, bits_per_day=1_000)
    assert mine.over(default) == SaeLimits(requests_per_s=5, bits_per_day=1_000)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"requests_per_s": 0}, "requests_per_s: expected 1.."),
        ({"request_burst": 1}, "request_burst: expected 2.."),
        ({"bits_per_day": "many"}, "bits_per_day: expected an integer"),
        ({"rate": 3}, "'rate' can't be changed"),
    ],
)
def test_a_bad_limit_is_refused_by_name(full, change, named):
    answer = full.a.operator.patch("/v1/saes/sae-a", json=change)
    assert answer.status_code == 400 and named in answer.get_json()["message"]


# Quotas


@pytest.mark.parametrize(("name", "period_s"), [("bits_per_hour", 3_600), ("bits_per_day", 86_400)])
def test_keys_over_the_quota_get_429_and_none_is_taken(full, clock, name, period_s):
    limit(full, **{name: 5 * 256})
    assert take(full, number=4).status_code == 200
    clock[0] += 100_000
    answer = take(full, number=2)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == period_s - 100
    assert take(full, number=1).status_code == 200
    assert take(full, number=1).status_code == 429
    clock[0] += (period_s - 100) * 1_000
    full.step_until(lambda: take(full, number=5).status_code == 200)
    full.assert_account_adds_up()


def test_a_request_for_more_than_a_whole_quota_is_400(full):
    limit(full, bits_per_hour=5 * 256)
    answer = take(full, number=6)
    assert answer.status_code == 400 and "quota" in answer.get_json()["message"]


def test_a_request_that_finds_too_few_keys_spends_no_quota(full):
    limit(full, bits_per_hour=30 * 256)
    assert [take(full, number=10).status_code for _ in range(2)] == [200, 200]
    full.qkde.abort_reason = "no more"
    assert [take(full, number=10).status_code for _ in range(3)] == [503] * 3
    full.qkde.abort_reason = None
    full.step_until(lambda: take(full, number=10).status_code == 200)


def test_a_slave_fetches_what_its_master_was_given_whatever_its_own_quota(full):
    full.b.operator.patch("/v1/saes/sae-b", json={"bits_per_hour": 8})
    keys = take(full, number=2).get_json()["keys"]
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    assert full.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json=body).status_code == 200


def test_a_refused_request_for_additional_slaves_has_nothing_cut(full):
    full.b.operator.post("/v1/saes", json={"sae_id": "sae-c"})
    connection_id = full.a.operator.get("/v1/connections").get_json()[0]["connection_id"]
    full.a.operator.patch(f"/v1/connections/{connection_id}", json={"max_SAE_ID_count": 1})
    limit(full, bits_per_hour=5 * 256)
    assert take(full, number=3, additional_slave_SAE_IDs=["sae-c"]).status_code == 200
    before = full.a.entity.account()
    assert take(full, number=3, additional_slave_SAE_IDs=["sae-c"]).status_code == 429
    assert full.a.entity.account() == before


# The record of refusals


def refusals(network, site="a"):
    one = getattr(network, site)
    one.scheduler.step()
    with one.entity.database.transaction() as sql:
        sql.execute("SELECT detail FROM audit WHERE event = 'calls_refused' ORDER BY audit_id")
        return [row["detail"] for row in sql.fetchall()]


def kinds(found):
    return {(one["sae_id"], one["method"], one["status"], one["reason"]): one["call_count"] for one in found}


def test_refused_calls_are_in_the_audit_trail_once_a_window_with_their_number(full, clock):
    refusals(full)
    for _ in range(7):
        call(full, "/api/v1/keys/nobody/status")
    take(full, number=11)
    full.a.sae("sae-a").post(ENC, data="{")
    full.a.sae("sae-a").put(ENC)
    full.a.sae("stranger").get(STATUS)
    assert take(full, number=10).status_code == take(full, number=10).status_code == 200
    take(full, number=10)
    assert refusals(full) == []
    clock[0] += 60_000
    assert kinds(refusals(full)) == {
        ("sae-a", "status", 400, "BadRequest"): 7,
        ("sae-a", "enc_keys", 400, "BadRequest"): 2,
        ("sae-a", "none", 405, "MethodNotAllowed"): 1,
        ("stranger", "status", 401, "NotEntitled"): 1,
        ("sae-a", "enc_keys", 503, "TooFewKeys"): 1,
    }
    clock[0] += 60_000
    assert len(refusals(full)) == 5


def test_429_is_on_record_as_well(full, clock):
    limit(full, requests_per_s=1, request_burst=2)
    refusals(full)
    statuses(full, 9)
    clock[0] += 60_000
    assert kinds(refusals(full)) == {("sae-a", "status", 429, "TooManyRequests"): 7}


def test_nobody_can_flood_the_audit_trail(full, clock, monkeypatch):
    monkeypatch.setattr("kme.admission.KINDS_KEPT", 5)
    refusals(full)
    for number in range(20):
        full.a.sae(f"stranger-{number}").get(STATUS)
    clock[0] += 60_000
    found = kinds(refusals(full))
    assert len(found) == 6
    assert found["others", "any", 0, "too many kinds"] == 15


def test_refusals_while_the_store_does_not_answer_are_counted_later(full, clock, monkeypatch):
    refusals(full)
    admission, run = full.a.entity.admission, full.a.entity.keystore.run

    def fail(*_):
        raise Unavailable("Redis does not answer: ConnectionError")

    monkeypatch.setattr(full.a.entity.keystore, "run", fail)
    assert take(full).status_code == 503
    admission.refused("sae-a", "status", 400, "BadRequest")
    monkeypatch.setattr(full.a.entity.keystore, "run", run)
    admission.refused("sae-a", "status", 400, "BadRequest")
    clock[0] += 60_000
    found = kinds(refusals(full))
    assert found["sae-a", "enc_keys", 503, "Unavailable"] == 1
    assert found["sae-a", "status", 400, "BadRequest"] == 2


def test_the_record_of_refusals_holds_nothing_of_what_was_asked(full, clock):
    refusals(full)
    full.a.sae("sae-a").post(ENC, json={"size": 7, "key": "c2VjcmV0"})
    full.a.sae("sae-a").get("/api/v1/keys/c2VjcmV0/status")
    clock[0] += 60_000
    assert "c2VjcmV0" not in json.dumps(refusals(full))


def test_registration_suspension_and_removal_are_in_the_audit_trail(full):
    full.a.operator.post("/v1/saes", json={"sae_id": "sae-x"})
    full.a.operator.patch("/v1/saes/sae-x", json={"suspended": True})
    full.a.operator.delete("/v1/saes/sae-x")
    with full.a.entity.database.transaction() as sql:
        sql.execute("SELECT event, detail FROM audit WHERE detail ->> 'sae_id' = 'sae-x' ORDER BY audit_id")
        found = [(row["event"], row["detail"].get("suspended")) for row in sql.fetchall()]
    assert found == [("sae_registered", None), ("sae_changed", True), ("sae_removed", None)]
