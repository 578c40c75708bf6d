"""Two demo SAEs over fakes of their KMEs and of the way between them: what is delivered, what is refused, and why."""

import base64
import random
import uuid
from types import SimpleNamespace

import pytest

from mutual_tls.app import CALLER
from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity
from sae_demo.app import inbox_app, ops_app
from sae_demo.etsi_answers import Key, KeyContainer, MalformedAnswer
from sae_demo.etsi_client import KmeRefused, KmeUnreachable
from sae_demo.exchange import Inbox
from sae_demo.message import read_order

OPERATOR, PROBE = Identity("operator", "olga"), Identity("probe", "health")
SAE_A = Identity("app", "sae-a")


class FakeKmes:
    """Two KMEs in one: a key goes once to its master, once to its slave. `fails` is raised in place of any answer."""

    def __init__(self):
        self.random = random.Random(14)
        self.waiting = {}
        self.requests = []
        self.fails = None

    def status(self, slave):
        return SimpleNamespace(max_key_per_request=2)

    def enc_keys(self, slave, number=1, size=None):
        self._answer(("enc_keys", slave, number, size))
        made = [Key(str(uuid.UUID(int=self.random.getrandbits(128))), self.random.randbytes(32)) for _ in range(number)]
        self.waiting |= {key.key_id: key for key in made}
        return KeyContainer(tuple(made))

    def dec_keys(self, master, key_ids):
        key_ids = list(key_ids)
        self._answer(("dec_keys", master, len(key_ids)))
        if not self.waiting.keys() >= set(key_ids):
            raise KmeRefused(400, "one or more keys specified are not found on KME")
        return KeyContainer(tuple(self.waiting.pop(key_id) for key_id in key_ids))

    def _answer(self, request):
        self.requests.append(request)
        if self.fails:
            raise self.fails


class Lab:
    """`a` is SAE a's ops listener; what it sends goes to SAE b's app listener, `b`, through `change` on its way."""

    def __init__(self):
        self.kmes = FakeKmes()
        self.inbox = Inbox(size=3)
        self.sent = []
        self.change = lambda body: body
        self.peer_fails = None
        self.b = inbox_app("sae-b", self.kmes, self.inbox).test_client()
        self.a = ops_app("sae-a", self.kmes, {"sae-b": self}.__getitem__, self.inbox).test_client()

    def request(self, method, path, *, json):
        """In place of `Peer.request`."""
        self.sent.append(json)
        if self.peer_fails:
            raise self.peer_fails
        reply = self.deliver(self.change(dict(json)), path=path)
        if reply.status_code >= 300:
            raise Refused(reply.status_code, reply.json["message"])

    def deliver(self, body, caller=SAE_A, path="/v1/messages"):
        return self.b.post(path, json=body, environ_overrides={CALLER: caller})

    def send(self, caller=OPERATOR, **order):
        body = {"to": "sae-b", "text": "grüße", "mode": "aes-256-gcm"} | order
        return self.a.post("/v1/messages", json=body, environ_overrides={CALLER: caller})

    def read(self, caller=OPERATOR, path="/v1/inbox"):
        return self.a.get(path, environ_overrides={CALLER: caller})


@pytest.fixture
def lab():
    return Lab()


@pytest.mark.parametrize(("mode", "key_count"), [("aes-256-gcm", 1), ("one-time-pad", 4)])
def test_a_message_reaches_the_other_inbox_under_keys_of_its_own(lab, mode, key_count):
    text = "grüße" * 10  # 70 bytes: three keys of pad and one for the tag
    reply = lab.send(text=text, mode=mode)
    assert reply.status_code == 200
    assert (reply.json["mode"], reply.json["delivered"], len(reply.json["key_IDs"])) == (mode, True, key_count)
    (received,) = lab.read().json
    assert received == {
        "from": "sae-a", "text": text, "mode": mode, "key_IDs": reply.json["key_IDs"],
        "ciphertext": reply.json["ciphertext"],
    }  # fmt: skip
    (wire,) = lab.sent
    assert wire["ciphertext"].startswith(reply.json["ciphertext"])
    assert text.encode() not in base64.b64decode(wire["ciphertext"])


def test_aes_is_the_mode_where_none_is_given(lab):
    reply = lab.a.post("/v1/messages", json={"to": "sae-b", "text": "x"}, environ_overrides={CALLER: OPERATOR})
    assert reply.json["mode"] == "aes-256-gcm"


def test_keys_are_asked_for_at_256_bits_and_within_the_limit_of_a_request(lab):
    lab.send(text="x" * 70, mode="one-time-pad")
    assert lab.kmes.requests == [("enc_keys", "sae-b", 2, 256)] * 2 + [("dec_keys", "sae-a", 4)]


def test_every_message_takes_new_keys(lab):
    assert lab.send().json["key_IDs"] != lab.send().json["key_IDs"]
    assert lab.sent[0]["nonce"] != lab.sent[1]["nonce"]


def test_a_message_that_comes_again_is_not_read_again(lab):
    lab.send()
    again = lab.deliver(lab.sent[0])
    assert (again.status_code, len(lab.inbox.items())) == (503, 1)
    assert "not found on KME" in again.json["message"]


@pytest.mark.parametrize("mode", ["aes-256-gcm", "one-time-pad"])
def test_a_message_changed_on_its_way_is_not_received(lab, mode):
    def flip(body):
        octets = bytearray(base64.b64decode(body["ciphertext"]))
        octets[0] ^= 1
        return body | {"ciphertext": base64.b64encode(octets).decode()}

    lab.change = flip
    reply = lab.send(mode=mode)
    assert (reply.status_code, lab.inbox.items()) == (502, [])
    assert "changed on its way" in reply.json["message"]


def test_a_sender_must_be_who_its_certificate_says(lab):
    lab.peer_fails = Unreachable("lost")
    lab.send()
    reply = lab.deliver(lab.sent[0], caller=Identity("app", "sae-c"))
    assert reply.status_code == 401
    assert "sae-c" in reply.json["message"]
    assert [request[0] for request in lab.kmes.requests] == ["enc_keys"]


def test_a_message_for_another_is_refused_before_its_keys_are_fetched(lab):
    lab.change = lambda body: body | {"to": "sae-c"}
    assert "to: this is sae-b" in lab.send().json["message"]
    assert [request[0] for request in lab.kmes.requests] == ["enc_keys"]


def test_each_listener_admits_its_role_alone(lab):
    assert lab.deliver({}, caller=Identity("sae", "sae-a")).status_code == 401
    assert lab.deliver({}, caller=OPERATOR).status_code == 401
    assert lab.send(caller=SAE_A).status_code == 401
    assert lab.send(caller=PROBE).status_code == 401
    assert lab.read(caller=PROBE).status_code == 401
    assert lab.read(caller=PROBE, path="/healthz").json == {"status": "ok"}
    assert lab.read(path="/healthz").json == {"status": "ok"}


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KmeRefused(503, "too few keys", [{"available": 0}], 9), 503, "too few keys"),
        (KmeUnreachable("https://kme: connection refused"), 503, "connection refused"),
        (MalformedAnswer("key: not base64"), 502, "against the standard: key: not base64"),
    ],
)
def test_what_is_wrong_with_the_kme_is_told(lab, error, status, words):
    lab.kmes.fails = error
    reply = lab.send()
    assert (reply.status_code, lab.sent) == (status, [])
    assert words in reply.json["message"]


def test_a_kme_that_says_when_to_come_again_is_quoted(lab):
    lab.kmes.fails = KmeRefused(503, "too few keys", [{"available": 0}], 9)
    reply = lab.send()
    assert (reply.headers["Retry-After"], reply.json["details"]) == ("9", [{"available": 0}])


def test_a_receiver_that_is_away_or_refuses_is_told(lab):
    lab.peer_fails = Unreachable("app sae-b at 127.0.0.1:1: connection refused")
    reply = lab.send()
    assert (reply.status_code, "unknown: app sae-b" in reply.json["message"]) == (503, True)
    lab.peer_fails = Refused(401, "app sae-b: not admitted")
    reply = lab.send()
    assert (reply.status_code, "not received: app sae-b: not admitted" in reply.json["message"]) == (502, True)


def test_no_key_is_taken_for_an_unknown_receiver(lab):
    reply = lab.send(to="sae-x")
    assert (reply.status_code, reply.json["message"]) == (404, "to: no SAE sae-x is known here")
    assert lab.kmes.requests == []


@pytest.mark.parametrize(
    ("order", "status", "words"),
    [
        ({"text": ""}, 400, "text: "),
        ({"text": 5}, 400, "text: "),
        ({"text": "\ud800"}, 400, "text: "),
        ({"to": None}, 400, "to: "),
        ({"to": "\ud800"}, 400, "to: "),
        ({"mode": "rot13"}, 400, "mode: expected one of aes-256-gcm, one-time-pad"),
        ({"mode": ["aes-256-gcm"]}, 400, "mode: "),
        ({"text": "x" * 1025, "mode": "one-time-pad"}, 413, "1025 bytes is too long; one-time-pad takes at most 1024"),
        ({"text": "é" * 32769}, 413, "65538 bytes is too long; aes-256-gcm takes at most 65536"),
    ],
)
def test_an_order_that_cannot_be_met_is_refused_by_name_and_takes_no_key(lab, order, status, words):
    reply = lab.send(**order)
    assert (reply.status_code, lab.kmes.requests) == (status, [])
    assert words in reply.json["message"]


@pytest.mark.parametrize("mode", ["aes-256-gcm", "one-time-pad"])
def test_the_longest_text_passes_both_listeners(lab, mode):
    text = "\x01" * (65536 if mode == "aes-256-gcm" else 1024)  # six bytes each in JSON
    assert lab.send(text=text, mode=mode).status_code == 200
    assert lab.inbox.items()[0].text == text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_not_a_json_object_is_refused_by_both(lab, body):
    for listener, caller in ((lab.a, OPERATOR), (lab.b, SAE_A)):
        reply = listener.post("/v1/messages", data=body, environ_overrides={CALLER: caller})
        assert (reply.status_code, reply.json) == (400, {"message": "the body must be a JSON object"})


ID = "aaaaaaaa-1111-4111-8111-111111111111"
MESSAGE = {
    "from": "sae-a", "to": "sae-b", "mode": "aes-256-gcm", "key_IDs": [ID], "nonce": "AAAAAAAAAAAAAAAA",
    "ciphertext": base64.b64encode(bytes(20)).decode(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from": ""}, "from: "),
        ({"mode": None}, "mode: "),
        ({"ciphertext": "AA="}, "ciphertext: expected base64"),
        ({"ciphertext": "é"}, "ciphertext: expected base64"),
        ({"ciphertext": base64.b64encode(bytes(16)).decode()}, "ciphertext: too short"),
        ({"nonce": 5}, "nonce: "),
        ({"key_IDs": ID}, "key_IDs: expected 1"),
        ({"key_IDs": []}, "key_IDs: expected 1"),
        ({"key_IDs": [ID, ID[:-1] + "2"]}, "key_IDs: expected 1"),
        ({"key_IDs": [ID, ID]}, "key_IDs: expected 1"),
        ({"key_IDs": [{"key_ID": ID}]}, "key_IDs: expected UUIDs"),
        ({"key_IDs": ["x" * 36]}, "key_IDs: expected UUIDs"),
        ({"mode": "one-time-pad", "key_IDs": [ID, ID.upper()]}, "key_IDs: expected 2 different"),
    ],
)
def test_a_malformed_message_is_refused_by_name_before_its_keys_are_fetched(lab, change, words):
    reply = lab.deliver(MESSAGE | change)
    assert (reply.status_code, lab.kmes.requests) == (400, [])
    assert words in reply.json["message"]


def test_the_inbox_keeps_the_latest_messages_only(lab):
    for number in range(5):
        lab.send(text=f"message {number}")
    assert [item["text"] for item in lab.read().json] == ["message 2", "message 3", "message 4"]


def test_a_text_does_not_show_in_a_repr(lab):
    lab.send(text="meet me at noon")
    assert "noon" not in repr(lab.inbox.items())
    assert "noon" not in repr(read_order({"to": "sae-b", "text": "meet me at noon"}))
