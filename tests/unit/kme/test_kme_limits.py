"""What a KME serves: the limits of connections and of SAE ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kme.errors import BadRequest
from kme.limits import check_connection, check_sae_id, is_sae_id
from kme.model import Connection

CONNECTION = Connection("kme-a", "kme-b", "sae-a", "sae-b", key_size_bits=256, max_key_count=100)
CONNECTION = replace(CONNECTION, max_key_per_request=10)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"key_size_bits": 8},
        {"key_size_bits": 4096},
        {"max_key_count": 100_000, "max_key_per_request": 1_000},
        {"max_key_count": 1, "max_key_per_request": 1},
        {"max_key_per_request": 100},
    ],
)
def test_a_connection_within_the_limits_is_served(changes):
    connection = replace(CONNECTION, **changes)
    assert check_connection(connection) is connection


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_size_bits": 0}, "key_size: expected 8..4096, got 0"),
        ({"key_size_bits": 4104}, "key_size: expected 8..4096, got 4104"),
        ({"key_size_bits": 100}, "key_size: expected a multiple of 8 in 8..4096, got 100"),
        ({"max_key_count": 0}, "max_keys_count: expected 1..100000, got 0"),
        ({"max_key_count": 100_001}, "max_keys_count: expected 1..100000, got 100001"),
        ({"max_key_per_request": 0}, "max_key_per_request: expected 1..100, got 0"),
        ({"max_key_per_request": 101}, "max_key_per_request: expected 1..100, got 101"),
        (
            {"max_key_count": 5_000, "max_key_per_request": 1_001},
            "max_key_per_request: expected 1..1000, got 1001",
        ),
        ({"max_sae_id_count": 33}, "max_SAE_ID_count: expected 0..32, got 33"),
        (
            {"slave_sae_id": "sae\0b"},
            "slave_SAE_ID: expected an SAE id of 1..255 printable characters, got 'sae\\x00b'",
        ),
    ],
)
def test_a_connection_over_a_limit_is_refused_with_member_value_and_range(changes, message):
    with pytest.raises(BadRequest) as refused:
        check_connection(replace(CONNECTION, **changes))
    assert refused.value.message == message


@pytest.mark.parametrize("sae_id", ["a", "a b", " ", "sae/\u00e4?%2F", "\u65e5\u672c", "x" * 255])
def test_an_sae_id_may_have_any_printable_characters_and_blanks(sae_id):
    assert is_sae_id(sae_id) and check_sae_id(sae_id, "sae_id") == sae_id


@pytest.mark.parametrize("sae_id", ["", "\0", "a\0b", "a\nb", "\x7f", "\ud800", "\u202e", "x" * 256])
def test_any_other_sae_id_is_refused_and_shown_escaped(sae_id):
    with pytest.raises(BadRequest, match="^sae_id: expected an SAE id of 1..255 printable") as refused:
        check_sae_id(sae_id, "sae_id")
    assert refused.value.message.isprintable() and len(refused.value.message) < 200
