"""The life-cycle API against two whole KMEs: e-mail addresses, one key at a time, requested, fetched, consumed."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

ALICE, BOB = "alice@example.com", "bob@example.com"
REQUEST = {"requester_sae": ALICE, "recipient_sae": BOB, "key_size": 256, "ttl": 3600}
POOL_TTL_S, FETCH_TTL_S, MARGIN_S = 100, 600, 60
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def site_settings():
    return {"fetch_ttl_s": FETCH_TTL_S, "ttl_margin_s": MARGIN_S}


@pytest.fixture
def mail(network):
    """The network with Alice's at a and Bob's at b, connected, and a full pool."""
    for site, sae in ((network.a, ALICE), (network.b, BOB)):
        assert site.operator.post("/v1/saes", json={"sae_id": sae}).status_code == 201
    body = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": ALICE, "slave_SAE_ID": BOB}
    assert (
        network.a.operator.post(
            "/register_connection", json=body | {"max_keys_count": 10, "TTL": POOL_TTL_S}
        ).status_code
        == 201
    )
    network.step_until(lambda: stored(network) == 10)
    return network


def stored(network) -> int:
    return network.a.sae(ALICE).get("/api/v1/status").get_json()["qkd_orchestrator"]["keys_in_store"]


def ask(network, **changes):
    return network.a.sae(ALICE).post("/api/v1/keys/request", json=REQUEST | changes)


def fetch(network, key_id, caller=BOB, requester=None, site=None):
    client = (site or network.b).sae(caller)
    return client.get(f"/api/v1/keys/{key_id}", query_string={"requester_sae": requester or caller})


def consume(site, caller, key_id, **changes):
    return site.sae(caller).post("/api/v1/keys/consume", json={"key_id": key_id, "requester_sae": caller} | changes)


def test_the_requester_gets_its_half_at_once_and_the_recipient_fetches_the_same(mail):
    asked = ask(mail).get_json()
    assert set(asked) == {
        "status", "key_id", "key", "size", "algorithm", "expires_at", "message", "source"
    }  # fmt: skip
    assert (asked["status"], asked["size"], asked["algorithm"], asked["source"]) == (
        "success", 256, "BB84", "qkd_orchestrator"
    )  # fmt: skip
    assert len(base64.b64decode(asked["key"], validate=True)) == 32
    fetched = fetch(mail, asked["key_id"])
    assert fetched.status_code == 200
    assert fetched.get_json() == {name: asked[name] for name in ("status", "key_id", "key", "size", "algorithm")}
    mail.assert_account_adds_up()


def test_a_key_is_given_to_its_recipient_once(mail):
    key_id = ask(mail).get_json()["key_id"]
    assert fetch(mail, key_id).status_code == 200
    again = fetch(mail, key_id)
    assert again.status_code == 400 and "not found" in again.get_json()["message"]


@pytest.mark.parametrize("suffix", ["-alice", "-bob"])
def test_the_names_of_the_halves_are_accepted(mail, suffix):
    asked = ask(mail).get_json()
    assert fetch(mail, asked["key_id"] + suffix).get_json()["key_id"] == asked["key_id"]
    assert consume(mail.b, BOB, asked["key_id"] + suffix).get_json()["key_id"] == asked["key_id"]


@pytest.mark.parametrize("size", [8, 128, 512, 4096])
def test_another_size_is_cut_on_demand_and_equal_at_both_ends(mail, size):
    asked = ask(mail, key_size=size).get_json()
    assert asked["size"] == 8 * len(base64.b64decode(asked["key"])) == size
    assert fetch(mail, asked["key_id"]).get_json()["key"] == asked["key"]
    mail.assert_account_adds_up()


def test_size_and_ttl_may_be_left_out(mail):
    answer = mail.a.sae(ALICE).post("/api/v1/keys/request", json={"requester_sae": ALICE, "recipient_sae": BOB})
    assert answer.get_json()["size"] == 256


def test_a_key_that_is_consumed_unfetched_is_destroyed_and_never_delivered(mail):
    key_id = ask(mail).get_json()["key_id"]
    before = mail.b.entity.account()
    for _ in range(2):
        answer = consume(mail.b, BOB, key_id)
        assert answer.get_json() == {"status": "success", "key_id": key_id, "state": "CONSUMED"}
    after = mail.b.entity.account()
    assert (after.destroyed - before.destroyed, after.delivered) == (256, before.delivered)
    assert fetch(mail, key_id).status_code == 400
    life = mail.b.entity.lifecycle.life(UUID(key_id))
    assert [one.state for one in life.changes[-2:]] == ["DESTROYED", "CONSUMED"]
    mail.assert_account_adds_up()


def test_what_the_requester_consumes_its_recipient_can_still_fetch(mail):
    key_id = ask(mail).get_json()["key_id"]
    assert consume(mail.a, ALICE, key_id).status_code == 200
    assert fetch(mail, key_id).status_code == 200
    assert consume(mail.b, BOB, key_id).status_code == 200
    mail.assert_account_adds_up()


def test_the_status_counts_the_callers_keys_and_the_rounds(mail):
    mail.qkde.abort_reason = "QBER 25 % is above the tolerance"
    mail.a.entity.reports.add(uuid4(), "a-b", {"outcome": "aborted"})
    answer = mail.a.sae(ALICE).get("/api/v1/status").get_json()
    rounds = answer.pop("qkd_orchestrator")
    with mail.a.entity.database.transaction() as sql:
        sql.execute("SELECT count(*) AS kept, max(report_id) AS ever FROM round_report")
        kept, ever = sql.fetchone().values()
    assert rounds == {"total_sessions": ever, "error_rate": 1 / kept, "keys_in_store": 10}
    assert answer == {
        "status": "OK", "service": "key management entity kme-a", "version": "1", "database": "connected"
    }  # fmt: skip
    assert mail.b.sae(BOB).get("/api/v1/status").get_json()["qkd_orchestrator"]["keys_in_store"] == 0


# The end of a key's time


@pytest.fixture
def clocks(mail):
    """The key stores' own time at both sites, in seconds."""
    now = {"a": time.time(), "b": time.time()}
    mail.a.entity.keystore._clock = lambda: now["a"]
    mail.b.entity.keystore._clock = lambda: now["b"]
    return now


def pass_(mail, clocks, site, seconds):
    """As it passes on a site that runs: somebody looks at the clock every few seconds."""
    until = clocks[site] + seconds
    while clocks[site] < until:
        clocks[site] = min(until, clocks[site] + 10)
        getattr(mail, site).entity.keystore.clocks_ms()


def test_a_key_can_be_fetched_until_the_time_that_was_told(mail, clocks):
    asked, last = ask(mail, ttl=1).get_json(), ask(mail, ttl=10**9).get_json()
    left_s = (datetime.fromisoformat(asked["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert FETCH_TTL_S < left_s <= POOL_TTL_S + FETCH_TTL_S
    pass_(mail, clocks, "b", left_s - 5)
    assert fetch(mail, asked["key_id"]).status_code == 200
    pass_(mail, clocks, "b", 5 + 2 * MARGIN_S)
    assert fetch(mail, last["key_id"]).status_code in (400, 404)
    mail.assert_account_adds_up()


def test_cleanup_destroys_what_expired_and_says_how_many_copies_that_were(mail, clocks):
    assert mail.a.sae(ALICE).post("/api/v1/keys/cleanup").get_json() == {"removed_count": 0}
    pass_(mail, clocks, "a", POOL_TTL_S + MARGIN_S)
    before = mail.a.entity.account()
    answer = mail.a.sae(ALICE).post("/api/v1/keys/cleanup").get_json()
    expired_bits = mail.a.entity.account().expired - before.expired
    assert answer["removed_count"] >= 10 and expired_bits == 256 * answer["removed_count"]
    assert stored(mail) == 0
    mail.assert_account_adds_up()


# Who is who


def test_a_requester_that_is_not_the_caller_is_refused_and_nothing_is_taken(mail):
    for requester in (BOB, "sae-a", "Alice@example.com", "alice@example.com "):
        assert ask(mail, requester_sae=requester).status_code == 401
    assert stored(mail) == 10
    key_id = ask(mail).get_json()["key_id"]
    # The requester named in the query is the recipient, but the certificate is another's; and the other way round.
    assert fetch(mail, key_id, caller="sae-b", requester=BOB).status_code == 401
    assert fetch(mail, key_id, caller=BOB, requester=ALICE).status_code == 401
    assert consume(mail.b, "sae-b", key_id, requester_sae=BOB).status_code == 401
    assert fetch(mail, key_id).status_code == 200


def test_only_the_recipient_may_fetch_and_only_the_two_may_consume(mail):
    key_id = ask(mail).get_json()["key_id"]
    assert fetch(mail, key_id, caller="sae-b").status_code == 401
    assert fetch(mail, key_id, caller=ALICE, site=mail.a).status_code == 401
    assert fetch(mail, key_id, caller="stranger").status_code == 401
    assert consume(mail.b, "sae-b", key_id).status_code == 401
    assert fetch(mail, key_id).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("get", "/api/v1/status"), ("post", "/api/v1/keys/cleanup")])
def test_an_sae_that_is_not_registered_is_told_nothing(mail, method, path):
    assert getattr(mail.a.sae("stranger"), method)(path).status_code == 401


def test_a_requester_without_a_connection_is_told_to_register_one(mail):
    answer = ask(mail, recipient_sae="sae-b")
    assert answer.status_code == 400
    assert "no connection is registered from master SAE alice@example.com to slave SAE sae-b" in answer.text


# What is malformed: each table against one network, and at its end nothing was taken

BAD_BODIES = [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"key_id":1,"key_id":1}', b"[" * 5000]
BAD_REQUESTS = [
    {"requester_sae": None},
    {"requester_sae": 1},
    {"requester_sae": ""},
    {"recipient_sae": None},
    {"recipient_sae": []},
    {"recipient_sae": "b\nb"},
    {"recipient_sae": "x" * 256},
    {"recipient_sae": "nobody"},
    {"recipient_sae": ALICE},
    {"key_size": 0},
    {"key_size": 12},
    {"key_size": 4104},
    {"key_size": "256"},
    {"key_size": True},
    {"key_size": 2.5},
    {"key_size": 10**30},
    {"ttl": 0},
    {"ttl": -1},
    {"ttl": "3600"},
    {"ttl": False},
    {"ttl": 0.5},
    {"ttl": 10**30},
]
BAD_CONSUMPTIONS = [
    {"key_id": None},
    {"key_id": 1},
    {"key_id": ""},
    {"key_id": "x"},
    {"key_id": MISSING},
    {"key_id": MISSING + "-carol"},
    {"key_id": MISSING.replace("-", "")},
    {"key_id": [MISSING]},
    {"requester_sae": None},
    {"requester_sae": {}},
]
BAD_FETCHES = [
    f"{MISSING}?requester_sae={BOB}",
    f"{MISSING}",
    f"{MISSING}?requester_sae=",
    f"x?requester_sae={BOB}",
    f"{MISSING}-alice-carol?requester_sae={BOB}",
    f"{MISSING}?requester_sae={BOB}&requester_sae={ALICE}",
    f"-bob?requester_sae={BOB}",
    f"%00?requester_sae={BOB}",
    f"..%2fstatus?requester_sae={BOB}",
]


def test_bodies_that_are_no_objects_get_400(mail):
    for path in ("request", "consume"):
        for body in BAD_BODIES:
            refused(400, mail.a.sae(ALICE).post(f"/api/v1/keys/{path}", data=body), body)
    assert stored(mail) == 10


def test_bad_members_of_a_request_get_400_and_no_key(mail):
    for changes in BAD_REQUESTS:
        refused(400, ask(mail, **changes), changes)
    assert stored(mail) == 10


def test_bad_members_of_a_consumption_get_400_and_an_unknown_key_404(mail):
    for changes in BAD_CONSUMPTIONS:
        body = {"key_id": MISSING, "requester_sae": BOB} | changes
        refused(
            404 if changes == {"key_id": MISSING} else 400,
            mail.b.sae(BOB).post("/api/v1/keys/consume", json=body),
            changes,
        )


def test_bad_fetches_get_400_or_401(mail):
    for path in BAD_FETCHES:
        refused(401 if path.endswith("requester_sae=") else 400, mail.b.sae(BOB).get(f"/api/v1/keys/{path}"), path)


def refused(status, answer, what):
    assert (answer.status_code, bool(answer.get_json()["message"])) == (status, True), (what, answer.text)


def test_another_verb_is_405_and_consumes_nothing(mail):
    client = mail.a.sae(ALICE)
    for verb, path, allowed in (
        ("head", "/api/v1/status", {"GET"}),
        ("post", "/api/v1/status", {"GET"}),
        ("head", f"/api/v1/keys/{MISSING}", {"GET"}),
        ("delete", f"/api/v1/keys/{MISSING}", {"GET"}),
        ("put", "/api/v1/keys/request", {"GET", "POST"}),
        ("delete", "/api/v1/keys/consume", {"GET", "POST"}),
        ("delete", "/api/v1/keys/cleanup", {"GET", "POST"}),
    ):
        answer = getattr(client, verb)(path)
        assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, allowed), (verb, path)
    assert stored(mail) == 10


def test_too_few_keys_give_503_with_retry_after(mail):
    mail.qkde.abort_reason = "no light"
    for _ in range(10):
        assert ask(mail).status_code == 200
    answer = ask(mail)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
