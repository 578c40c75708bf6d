"""How the demo SAEs use QKD keys: AES-256-GCM, or a one-time pad with a one-time authenticator. Pure.

Both modes use a key for one message only, and both bind the message to its key_IDs, sender and receiver, so that it
can't be passed off as another's. Keys of a connection are asked for in pieces of 256 bits.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

AES_256_GCM = "aes-256-gcm"
ONE_TIME_PAD = "one-time-pad"
MODES = (AES_256_GCM, ONE_TIME_PAD)

KEY_SIZE_BITS = 256
_KEY_BYTES = KEY_SIZE_BITS // 8
_NONCE_BYTES = 12
TAG_BYTES = 16


class CipherError(Exception):
    """The message can't be encrypted or decrypted with these keys. Says neither which bits nor what the text is."""


@dataclass(frozen=True)
class Sealed:
    """A ciphertext with its tag at the end. `nonce` is None where the mode has none."""

    ciphertext: bytes
    nonce: bytes | None = None


def key_count(mode: str, text_bytes: int) -> int:
    """How many 256-bit keys a text takes: AES: one; the pad: as many bits as the text has, and one key for the tag."""
    if mode == AES_256_GCM:
        return 1
    if mode == ONE_TIME_PAD:
        return 1 + -(-text_bytes // _KEY_BYTES)
    raise CipherError(f"unknown mode: expected one of {', '.join(MODES)}")


def bound_to(mode: str, sender: str, receiver: str, key_ids: Sequence[str]) -> bytes:
    """The associated data of a message. JSON, because ids are arbitrary strings and must not run into each other."""
    return json.dumps([mode, sender, receiver, list(key_ids)], separators=(",", ":")).encode()


def seal(
    mode: str, keys: Sequence[bytes], text: bytes, bound: bytes, random_bytes: Callable[[int], bytes] = os.urandom
) -> Sealed:
    """Encrypts and authenticates. `keys`: as many as `key_count` says, never used before. Raises CipherError."""
    _check_keys(mode, keys, len(text))
    if mode == AES_256_GCM:
        nonce = random_bytes(_NONCE_BYTES)
        return Sealed(AESGCM(keys[0]).encrypt(nonce, text, bound), nonce)
    ciphertext = _xor(text, b"".join(keys[1:]))
    return Sealed(ciphertext + _one_time_tag(keys[0], ciphertext, bound))


def unseal(mode: str, keys: Sequence[bytes], sealed: Sealed, bound: bytes) -> bytes:
    """The text. Raises CipherError unless it is, to the bit, what the holder of the same keys sealed."""
    ciphertext, tag = sealed.ciphertext[:-TAG_BYTES], sealed.ciphertext[-TAG_BYTES:]
    _check_keys(mode, keys, len(ciphertext))
    if (len(sealed.nonce) if sealed.nonce is not None else 0) != (_NONCE_BYTES if mode == AES_256_GCM else 0):
        raise CipherError(f"{AES_256_GCM} has a nonce of {_NONCE_BYTES} bytes, {ONE_TIME_PAD} has none")
    if mode == AES_256_GCM:
        try:
            return AESGCM(keys[0]).decrypt(sealed.nonce or b"", sealed.ciphertext, bound)
        except InvalidTag:
            raise CipherError("the message was changed on its way, or sealed under other keys") from None
    if not hmac.compare_digest(tag, _one_time_tag(keys[0], ciphertext, bound)):
        raise CipherError("the message was changed on its way, or sealed under other keys")
    return _xor(ciphertext, b"".join(keys[1:]))


def _check_keys(mode: str, keys: Sequence[bytes], text_bytes: int) -> None:
    expected = key_count(mode, text_bytes)
    if len(keys) != expected or any(len(key) != _KEY_BYTES for key in keys):
        raise CipherError(f"{mode} over {text_bytes} bytes takes {expected} key(s) of {KEY_SIZE_BITS} bits")


def _xor(text: bytes, pad: bytes) -> bytes:
    """The one-time pad (Vernam; Shannon 1949).

    Perfect secrecy and NO integrity at all: whoever flips a bit of the ciphertext flips that bit of the text. Hence the
    tag below. Where the last key is longer than what is left of the text, its rest is thrown away.
    """
    return bytes(a ^ b for a, b in zip(text, pad, strict=False))


def _one_time_tag(key: bytes, ciphertext: bytes, bound: bytes) -> bytes:
    """Poly1305 (Bernstein 2005) under a key of its own.

    A polynomial hash masked by bits that are used once, so that its strength, unlike that of AES, rests on no
    assumption: a forgery over L bytes passes with a probability of at most 8·⌈L/16⌉/2^106.
    """
    # The length in front keeps bytes from moving between the two parts.
    return Poly1305.generate_tag(key, len(bound).to_bytes(8) + bound + ciphertext)
