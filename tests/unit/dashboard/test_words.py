"""Events in words, and without key material."""

import pytest

from qkd_lab.dashboard.words import KINDS, event_in_words, round_in_words

PAIRS = {"c1": ("sae-a", "sae-b")}
KEY_ID = "8844d3b2-1111-4222-8333-444444444444"
AT = "2026-11-22T12:00:00.000+00:00"


def told(event, **detail):
    return event_in_words("kme-a", {"id": 7, "at": AT, "event": event, "detail": detail}, PAIRS)


@pytest.mark.parametrize(
    ("event", "detail", "kind", "text"),
    [
        (
            "keys_delivered",
            {"role": "master", "sae_id": "sae-a", "connection_id": "c1", "key_id": KEY_ID, "key_count": 1},
            "delivery",
            "SAE sae-a took key 8844… for sae-b",
        ),
        (
            "keys_delivered",
            {"role": "slave", "sae_id": "sae-b", "connection_id": "c1", "key_id": KEY_ID, "key_count": 33},
            "delivery",
            "SAE sae-b fetched 33 keys, 8844… the first that sae-a had taken",
        ),
        (
            "keys_delivered",
            {"role": "slave", "sae_id": "sae-b", "connection_id": "c1", "key_id": KEY_ID, "consumed": True},
            "delivery",
            "SAE sae-b fetched key 8844… that sae-a had taken: used up here",
        ),
        (
            "keys_stored",
            {"connection_id": "c1", "key_id": KEY_ID, "key_count": 213},
            "filling",
            "kme-a put 213 keys, 8844… the first in store for sae-a → sae-b",
        ),
        (
            "keys_destroyed",
            {"connection_id": "c1", "key_count": 2, "reason": "connection_removed"},
            "loss",
            "kme-a destroyed 2 keys for sae-a → sae-b: connection removed",
        ),
        (
            "block_received",
            {"block_id": KEY_ID, "bits": 310144, "link": "a-b"},
            "block",
            "kme-a received block 8844… of 310,144 bits from link a-b",
        ),
        (
            "calls_refused",
            {"sae_id": "sae-b", "method": "enc_keys", "status": 503, "reason": "TooFewKeys", "call_count": 21},
            "refusal",
            "kme-a refused SAE sae-b: enc_keys 503, TooFewKeys, 21 times",
        ),
        ("sae_registered", {"sae_id": "<b>"}, "operator", "kme-a registered SAE <b>"),
        ("something_new", {}, "operator", "kme-a: something new"),
    ],
)
def test_an_event_is_told_in_words(event, detail, kind, text):
    one = told(event, **detail)
    assert (one["kind"], one["text"]) == (kind, text)
    assert one["kind"] in KINDS and one["id"] == "kme-a-7" and one["at"] == AT


def test_what_an_event_lacks_does_not_keep_it_from_being_told():
    for event in ("keys_stored", "block_received", "block_closed", "calls_refused", "keys_expired", "bits_burned"):
        assert told(event)["text"]


def test_of_a_key_only_the_beginning_of_its_id_is_told():
    assert KEY_ID not in told("keys_stored", key_id=KEY_ID, key_count=1)["text"]


def test_a_round_is_told_with_its_qber_and_why_it_gave_no_key():
    row = {"link": "a-b", "outcome": "key", "qber": 0.00988, "secret_bits": 310656, "abort_reason": None}
    assert round_in_words(row) == "link a-b: a round gave 310,656 secret bits at QBER 0.99 %"
    row |= {"outcome": "aborted", "qber": None, "abort_reason": "nothing was sifted"}
    assert round_in_words(row) == "link a-b: a round gave no key at QBER undefined: nothing was sifted"
