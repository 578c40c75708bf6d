"""Each malformed request gets the documented refusal, and consumes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qkd_lab.pki.store import Pki

from malformed_requests import (
    A_KEY,
    Malformed,
    dec_keys_bodies,
    dec_keys_queries,
    enc_keys_bodies,
    enc_keys_queries,
    status_requests,
)
from two_kmes import Kmes

# By method: who calls which KME, and what.
METHODS = {
    "GET status": ("sae-a", "kme-a", tuple(status_requests("sae-b"))),
    "GET enc_keys": ("sae-a", "kme-a", tuple(enc_keys_queries("sae-b"))),
    "POST enc_keys": ("sae-a", "kme-a", tuple(enc_keys_bodies("sae-b"))),
    "GET dec_keys": ("sae-b", "kme-b", tuple(dec_keys_queries("sae-a"))),
    "POST dec_keys": ("sae-b", "kme-b", tuple(dec_keys_bodies("sae-a"))),
}
UNREADABLE = {400, 414, 431, 501}  # refused before any method, says the document's description
EVERY = [
    pytest.param(caller, kme, malformed, id=f"{method}, {malformed.name}")
    for method, (caller, kme, table) in METHODS.items()
    for malformed in table
]


@pytest.fixture(scope="module")
def callers(kmes: Kmes) -> Kmes:
    """The two KMEs, and SAEs whose certificates are good but whom they do not know."""
    for site in "ab":
        Pki(kmes.lab.pki, datetime.now(UTC)).issue_sae(f"unregistered-{site}", site)
    return kmes


@pytest.fixture(scope="module")
def key_id(kmes: Kmes) -> Iterator[str]:
    """A key that sae-b could fetch: none of the requests did, for it still can."""
    (key,) = kmes.keys(1)
    yield key["key_ID"]
    with kmes.session("sae-b") as slave:
        fetched = slave.get(f"{kmes.url('kme-b')}/api/v1/keys/sae-a/dec_keys", params={"key_ID": key["key_ID"]})
    assert fetched.json() == {"keys": [key]}


@pytest.fixture(scope="module")
def before(kmes: Kmes, key_id: str) -> dict[str, Any]:
    """Pools and accounts of both: nobody else uses these KMEs, so nothing may change them."""
    return kmes.state()


@pytest.fixture(scope="module")
def refusals(kmes: Kmes) -> dict[str, Draft202012Validator]:
    """By status the schema that each KME's own document gives its body."""
    with kmes.session("sae-a") as session:
        components = session.get(f"{kmes.url('kme-a')}/api/v1/openapi.json").json()["components"]
    found = {}
    for status, refusal in components["responses"].items():
        schema = refusal["content"]["application/json"]["schema"]
        found[status] = Draft202012Validator({**schema, "components": components})
    return found


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_sixty_malformed_requests_at_least(method):
    requests = [(malformed.caller, malformed.request) for malformed in METHODS[method][2]]
    assert len(set(requests)) == len(requests) >= 60


@pytest.mark.parametrize(("caller", "kme", "malformed"), EVERY)
def test_a_malformed_request_gets_its_refusal_and_consumes_nothing(
    callers: Kmes, key_id: str, before, refusals, report, caller: str, kme: str, malformed: Malformed
):
    request = malformed.request.replace(A_KEY.encode(), key_id.encode()).replace(
        A_KEY.upper().encode(), key_id.upper().encode()
    )
    answer = callers.ask(f"{malformed.caller}-{kme[-1]}" if malformed.caller else caller, kme, request)
    assert report.malformed(answer.status) == malformed.status
    assert str(answer.status) in refusals or answer.status in UNREADABLE
    assert answer.headers["content-type"] == "application/json"
    assert ("allow" in answer.headers) == (answer.status == 405)
    if not malformed.request.startswith(b"HEAD"):
        refusals["400"].validate(json.loads(answer.body))
        assert malformed.said in json.loads(answer.body)["message"]
    assert callers.state() == before
