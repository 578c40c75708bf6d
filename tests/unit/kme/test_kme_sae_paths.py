"""Routing on the SAE listener: SAE IDs in the path as clients send them, without a KME behind it."""

from __future__ import annotations

import pytest

from kme.errors import Unavailable
from kme.model import Connection, KeyRequest, PoolStatus
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity


class RecordingDelivery:
    def __init__(self):
        self.seen = []

    def status(self, caller, slave):
        self.seen.append((caller, slave))
        return PoolStatus(Connection("kme-a", "kme-b", caller, slave), 0)

    def enc_keys(self, caller, slave, request, is_there):
        self.seen.append((caller, slave, request))
        return []

    def dec_keys(self, caller, master, key_ids):
        raise Unavailable("Redis does not answer: ConnectionError")


@pytest.fixture
def delivery():
    return RecordingDelivery()


@pytest.fixture
def app(delivery):
    return sae_app(delivery)


def call(app, raw, method="GET", **environ):
    """A request whose path arrives as `raw`, byte by byte."""
    environ = {CALLER: Identity("sae", "me"), "RAW_URI": raw, "REQUEST_URI": raw} | environ
    return app.test_client().open("/ignored", method=method, environ_overrides=environ)


@pytest.mark.parametrize(
    ("encoded", "sae_id"),
    [
        ("sae-b", "sae-b"),
        ("sae%2Fb", "sae/b"),
        ("sae%2fb", "sae/b"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A4", "ä"),
        ("a%3Fb%23c", "a?b#c"),
        ("a%252Fb", "a%2Fb"),
        ("alice@example.com", "alice@example.com"),
        ("%2e%2e", ".."),
        ("status", "status"),
        ("a;b=c,d", "a;b=c,d"),
        ("7", "7"),
    ],
)
def test_an_sae_id_arrives_as_it_was_meant(app, delivery, encoded, sae_id):
    assert call(app, f"/api/v1/keys/{encoded}/status?x=1").status_code == 200
    assert call(app, f"https://kme:8000/api/v1/keys/{encoded}/status").status_code == 200
    assert delivery.seen == [("me", sae_id)] * 2


def test_each_query_is_taken_for_what_it_asks_however_often(app, delivery):
    for _ in range(2):
        for query in ("number=2", "number=3&size=128", ""):
            environ = {"QUERY_STRING": query}
            assert call(app, f"/api/v1/keys/b/enc_keys?{query}", **environ).status_code == 200
        assert call(app, "/api/v1/keys/b/enc_keys?number=x", QUERY_STRING="number=x").status_code == 400
    asked = [KeyRequest(2), KeyRequest(3, 128), KeyRequest()]
    assert delivery.seen == [("me", "b", one) for one in asked * 2]


def test_without_the_raw_path_plain_ids_still_work(app, delivery):
    client = app.test_client()
    environ = {CALLER: Identity("sae", "me"), "RAW_URI": "", "REQUEST_URI": ""}
    assert client.get("/api/v1/keys/a b/status", environ_overrides=environ).status_code == 200
    assert client.get("/api/v1/keys/ä/status", environ_overrides=environ).status_code == 200
    assert delivery.seen == [("me", "a b"), ("me", "ä")]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("/api/v1/keys//status", 404),
        ("//api/v1/keys/sae-b/status", 404),
        ("///api/v1/keys/sae-b/status", 404),
        ("https://kme//api/v1/keys/sae-b/status", 404),
        ("/api/v1/keys/sae-b", 404),
        ("/api/v1/keys/sae/b/status", 404),
        ("/api/v1/keys/sae-b/status/", 404),
        ("/api/v1/keys/../keys/sae-b/status", 404),
        ("/api/v1/keys/%ff/status", 400),
        ("/api/v1/keys/%00/status", 400),
        ("/api/v1/keys/a%00b/status", 400),
        ("/api/v1/keys/a%0Ab/enc_keys", 400),
        ("/api/v1/keys/" + "x" * 256 + "/status", 400),
        ("/", 404),
        ("*", 404),
    ],
)
def test_other_paths_are_refused_with_the_json_body(app, delivery, raw, status):
    answer = call(app, raw)
    assert answer.status_code == status
    assert list(answer.get_json()) == ["message"]
    assert not delivery.seen


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_other_verb_reaches_a_key(app, delivery, method):
    assert call(app, "/api/v1/keys/sae-b/enc_keys", method).status_code == 405
    assert not delivery.seen


def test_a_body_on_a_get_is_read_and_ignored(app, delivery):
    client = app.test_client()
    answer = client.get(
        "/api/v1/keys/b/enc_keys", data=b'{"number": 9}', environ_overrides={CALLER: Identity("sae", "me")}
    )
    assert answer.status_code == 200
    assert delivery.seen == [("me", "b", KeyRequest())]


def test_a_body_that_is_too_large_is_413(app):
    client = app.test_client()
    for method in ("GET", "POST"):
        answer = client.open(
            "/api/v1/keys/b/enc_keys",
            method=method,
            data=b" " * (2 << 20),
            environ_overrides={CALLER: Identity("sae", "me")},
        )
        assert answer.status_code == 413 and answer.get_json()["message"]


@pytest.mark.parametrize("role", ["kme", "qkde", "operator", "probe", "app"])
def test_only_saes_are_admitted(app, delivery, role):
    answer = call(app, "/api/v1/keys/sae-b/status", **{CALLER: Identity(role, "sae-a")})
    assert answer.status_code == 401 and answer.get_json()["message"]
    assert not delivery.seen


@pytest.mark.parametrize("sae_id", ["\0", "sae\0a", "sae\n", "x" * 256])
def test_a_caller_whose_id_is_no_sae_id_is_not_admitted(app, delivery, sae_id):
    answer = call(app, "/api/v1/keys/sae-b/status", **{CALLER: Identity("sae", sae_id)})
    assert answer.status_code == 401 and answer.get_json()["message"]
    assert not delivery.seen


def test_no_header_or_query_changes_who_is_calling(app, delivery):
    client = app.test_client()
    headers = {"X-SSL-Client-CN": "other", "X-Forwarded-For": "other", "qkd.caller": "other"}
    client.get("/api/v1/keys/b/status?SAE_ID=other", headers=headers, environ_overrides={CALLER: Identity("sae", "me")})
    assert delivery.seen == [("me", "b")]


def test_what_is_unavailable_is_503_with_retry_after(app):
    raw = "/api/v1/keys/b/dec_keys?key_ID=123e4567-e89b-42d3-a456-426614174000"
    answer = call(app, raw, QUERY_STRING=raw.split("?")[1])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.get_json() == {"message": "Redis does not answer: ConnectionError"}


def test_an_unforeseen_error_tells_nothing(app, delivery, caplog):
    def fail(*_):
        raise ValueError("secret bits: 0xdeadbeef")

    delivery.status = fail
    answer = call(app, "/api/v1/keys/b/status")
    assert (answer.status_code, answer.get_json()) == (500, {"message": "internal error"})
    assert "deadbeef" not in caplog.text
