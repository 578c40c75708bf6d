"""What one demo SAE sends to another, and what an operator asks for, read with clear words on what is wrong."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import Any

from sae_demo.cipher import AES_256_GCM, MODES, ONE_TIME_PAD, TAG_BYTES, Sealed, key_count

# The pad takes key bit for bit out of a pool of some 1,000 keys, so one message must not empty it.
MAX_TEXT_BYTES = {AES_256_GCM: 64 * 1024, ONE_TIME_PAD: 1024}
# The largest message: its ciphertext in base64, and its key_IDs.
MAX_BODY_BYTES = 128 * 1024


class BadMessage(Exception):
    """`status` is the HTTP status that fits: 400, or 413 for too long a text."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Order:
    """An operator's wish: send this text."""

    receiver: str
    text: str = field(repr=False)
    mode: str


@dataclass(frozen=True)
class Message:
    sender: str
    receiver: str
    mode: str
    key_ids: tuple[str, ...]
    sealed: Sealed

    def to_json(self) -> dict[str, Any]:
        nonce = {} if self.sealed.nonce is None else {"nonce": base64.b64encode(self.sealed.nonce).decode()}
        return {
            "from": self.sender,
            "to": self.receiver,
            "mode": self.mode,
            "key_IDs": list(self.key_ids),
            **nonce,
            "ciphertext": base64.b64encode(self.sealed.ciphertext).decode(),
        }


def read_order(body: Any) -> Order:
    """`{"to", "text", "mode"?}`; the mode is AES-256-GCM where none is given. Raises BadMessage."""
    mode = _mode(body, default=AES_256_GCM)
    order = Order(_string(body, "to"), _string(body, "text"), mode)
    _check_length("text", len(order.text.encode()), mode)
    return order


def read_message(body: Any) -> Message:
    """Raises BadMessage. The count of key_IDs must fit: no message makes its receiver fetch keys for nothing."""
    mode = _mode(body)
    ciphertext = _octets(body, "ciphertext")
    text_bytes = len(ciphertext) - TAG_BYTES
    if text_bytes < 1:
        raise BadMessage("ciphertext: too short to hold a text and its tag")
    _check_length("ciphertext", text_bytes, mode)
    listed = body.get("key_IDs")
    key_ids = tuple(map(_uuid, listed)) if isinstance(listed, list) else ()
    expected = key_count(mode, text_bytes)
    if len(key_ids) != expected or len(set(key_ids)) != expected:
        raise BadMessage(f"key_IDs: expected {expected} different key IDs for this mode and length")
    nonce = _octets(body, "nonce") if body.get("nonce") is not None else None
    sealed = Sealed(ciphertext, nonce)
    return Message(_string(body, "from"), _string(body, "to"), mode, key_ids, sealed)


def _mode(body: Any, default: str | None = None) -> str:
    if not isinstance(body, dict):
        raise BadMessage("the body must be a JSON object")
    mode = body.get("mode", default)
    if mode not in MODES:
        raise BadMessage(f"mode: expected one of {', '.join(MODES)}")
    return mode


def _check_length(name: str, text_bytes: int, mode: str) -> None:
    limit = MAX_TEXT_BYTES[mode]
    if text_bytes > limit:
        raise BadMessage(f"{name}: a text of {text_bytes} bytes is too long; {mode} takes at most {limit}", 413)


def _string(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadMessage(f"{name}: expected a string that is not empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadMessage(f"{name}: expected Unicode text; half of a surrogate pair is none")
    return value


def _octets(body: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_string(body, name), validate=True)
    except ValueError:
        raise BadMessage(f"{name}: expected base64 with padding") from None


def _uuid(value: Any) -> str:
    try:
        if isinstance(value, str) and len(value) == 36:
            return str(uuid.UUID(value))
    except ValueError:
        pass
    raise BadMessage("key_IDs: expected UUIDs of 36 characters")
