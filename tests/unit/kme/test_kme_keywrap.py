"""Encryption at rest."""

from __future__ import annotations

import secrets
from uuid import uuid4

import pytest

from kme.errors import Unavailable
from kme.keyring import KeyRing
from kme.keywrap import KeyWrap, block_context, key_context

KEY, CONNECTION = uuid4(), uuid4().bytes
SECRET = b"the bits of a key"


@pytest.fixture
def keywrap():
    return KeyWrap(b"k" * 32)


def test_what_is_wrapped_is_unwrapped_in_its_own_context_alone(keywrap):
    context = key_context(KEY.bytes, CONNECTION)
    wrapped = keywrap.wrap(SECRET, context)
    assert keywrap.unwrap(wrapped, context) == SECRET
    another_key, another_connection = key_context(uuid4().bytes, CONNECTION), key_context(KEY.bytes, uuid4().bytes)
    for other in (another_key, another_connection, block_context(KEY, 0), b""):
        with pytest.raises(Unavailable):
            keywrap.unwrap(wrapped, other)


def test_a_block_does_not_pass_for_an_earlier_version_of_itself(keywrap):
    wrapped = keywrap.wrap(SECRET, block_context(KEY, 3))
    with pytest.raises(Unavailable):
        keywrap.unwrap(wrapped, block_context(KEY, 4))


def test_a_changed_byte_anywhere_is_noticed(keywrap):
    wrapped = keywrap.wrap(SECRET, b"context")
    for i in range(len(wrapped)):
        changed = wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :]
        with pytest.raises(Unavailable):
            keywrap.unwrap(changed, b"context")
    for length in range(len(wrapped)):
        with pytest.raises(Unavailable):
            keywrap.unwrap(wrapped[:length], b"context")


def test_another_key_encryption_key_is_named_as_the_cause(keywrap):
    with pytest.raises(Unavailable, match="another key-encryption key"):
        KeyWrap(b"l" * 32).unwrap(keywrap.wrap(SECRET, b""), b"")


def test_the_same_secret_is_wrapped_differently_every_time(keywrap):
    assert len({keywrap.wrap(SECRET, b"") for _ in range(100)}) == 100


def test_wrapping_adds_the_32_bytes_that_the_account_reckons_with(keywrap):
    # db/lua/fetch_keys.lua subtracts them.
    assert len(keywrap.wrap(bytes(100), b"")) == 132


def test_the_digest_tells_secrets_contexts_and_kmes_apart():
    keyring = KeyRing(b"k" * 32)
    digests = [
        keyring.digest(SECRET, b"a"),
        keyring.digest(SECRET + b"x", b"a"),
        keyring.digest(b"a" + SECRET, b""),
        keyring.digest(SECRET, b"b"),
        KeyRing(b"l" * 32).digest(SECRET, b"a"),
    ]
    assert len(set(digests)) == len(digests)
    assert keyring.digest(SECRET, b"a") == digests[0]


def test_the_kek_is_not_shown(keywrap):
    kek = secrets.token_bytes(32)
    assert kek.hex()[:8] not in repr(KeyWrap(kek))
    assert "k" * 4 not in repr(keywrap)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_kek_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match=f"has {length} bytes: expected 32"):
        KeyWrap(bytes(length))
