"""Encryption at rest: AES-256-GCM under the KME's key-encryption key (KEK), NIST SP 800-38D.

A wrapped secret is `KEK fingerprint (4 bytes) | nonce (12) | ciphertext and tag`. Its context, what it is and whose, is
authenticated with it, so that a store that swaps two records is noticed.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kme.errors import Unavailable

KEK_BYTES = 32
_FINGERPRINT_BYTES = 4
_NONCE_BYTES = 12
_FINGERPRINT = slice(_FINGERPRINT_BYTES)
_NONCE = slice(_FINGERPRINT_BYTES, _FINGERPRINT_BYTES + _NONCE_BYTES)
_SEALED = slice(_FINGERPRINT_BYTES + _NONCE_BYTES, None)


class KeyWrap:
    """Wraps and unwraps under one KEK of 32 bytes. `random` gives nonces; they must never repeat under one KEK."""

    def __init__(self, kek: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(kek) != KEK_BYTES:
            raise ValueError(f"the key-encryption key has {len(kek)} bytes: expected {KEK_BYTES}")
        self._random = random
        self._cipher = AESGCM(derived(kek, b"wrap"))
        self.fingerprint = derived(kek, b"fingerprint")[:_FINGERPRINT_BYTES]

    def __repr__(self) -> str:
        return f"KeyWrap({self.fingerprint.hex()})"

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        return self.fingerprint + nonce + self._cipher.encrypt(nonce, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Raises Unavailable where it was wrapped under another KEK, belongs elsewhere, or was changed."""
        if wrapped[_FINGERPRINT] != self.fingerprint:
            raise Unavailable("this was encrypted under another key-encryption key: give this KME the one it had")
        try:
            return self._cipher.decrypt(wrapped[_NONCE], wrapped[_SEALED], context)
        except (InvalidTag, ValueError):
            raise Unavailable("a stored secret is damaged or not where it belongs; it can't be used") from None


def fingerprint_in(wrapped: bytes) -> bytes:
    """Of the KEK that it was wrapped under."""
    return wrapped[_FINGERPRINT]


def key_context(id_octets: bytes, connection_octets: bytes) -> bytes:
    """The octets of both UUIDs: one connection's are taken once for all of its keys."""
    return b"key|" + id_octets + connection_octets


def block_context(block_id: UUID, version: int) -> bytes:
    """With the version in it, an earlier state of a block, with bits cut since, can't pass for a later one."""
    return b"block|" + block_id.bytes + version.to_bytes(8)


def counts_context(version: int) -> bytes:
    """Of how often each byte occurred in blocks (`kme.entropy`)."""
    return b"byte counts|" + version.to_bytes(8)


def derived(kek: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose."""
    return hmac.digest(kek, b"qkd-lab kme " + purpose, "sha256")
