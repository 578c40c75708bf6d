"""One message from one SAE to another: take keys, seal, send; and at the other end fetch the keys, unseal, keep."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mutual_tls.client import Peer
from sae_demo.cipher import KEY_SIZE_BITS, CipherError, bound_to, key_count, seal, unseal
from sae_demo.etsi_answers import Key, KeyContainer, Status
from sae_demo.message import Message, Order


class Kme(Protocol):
    """What is needed of an `Etsi014Client`."""

    def status(self, slave: str) -> Status: ...

    def enc_keys(self, slave: str, number: int = 1, size: int | None = None) -> KeyContainer: ...

    def dec_keys(self, master: str, key_ids: Iterable[str]) -> KeyContainer: ...


@dataclass(frozen=True)
class Received:
    """A message that was decrypted and found unchanged."""

    message: Message
    text: str = field(repr=False)


class Inbox:
    """The latest messages, oldest first, in memory only. Safe to share between threads."""

    def __init__(self, size: int = 100) -> None:
        self._items: deque[Received] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, item: Received) -> None:
        with self._lock:
            self._items.append(item)

    def items(self) -> list[Received]:
        with self._lock:
            return list(self._items)


def send(sae_id: str, order: Order, kme: Kme, peer: Peer, random_bytes: Callable[[int], bytes] = os.urandom) -> Message:
    """Returns what was sent, once the other SAE has decrypted it. Raises the errors of the KME's client and the peer.

    If anything fails the keys are lost with the message: none is ever used for a second one.
    """
    text = order.text.encode()
    keys = take_keys(kme, order.receiver, key_count(order.mode, len(text)))
    key_ids = tuple(key.key_id for key in keys)
    bound = bound_to(order.mode, sae_id, order.receiver, key_ids)
    sealed = seal(order.mode, [key.octets for key in keys], text, bound, random_bytes)
    message = Message(sae_id, order.receiver, order.mode, key_ids, sealed)
    peer.request("POST", "/v1/messages", json=message.to_json())
    return message


def receive(message: Message, kme: Kme) -> Received:
    """Raises CipherError, or the errors of the KME's client. A message that comes again finds its keys taken."""
    keys = kme.dec_keys(message.sender, message.key_ids).keys
    bound = bound_to(message.mode, message.sender, message.receiver, message.key_ids)
    text = unseal(message.mode, [key.octets for key in keys], message.sealed, bound)
    try:
        return Received(message, text.decode())
    except UnicodeDecodeError:
        pass  # not chained: it quotes the text
    raise CipherError("the text is not UTF-8")


def take_keys(kme: Kme, slave: str, count: int) -> list[Key]:
    """`count` new keys of 256 bits, in as many requests as the connection's max_key_per_request makes necessary."""
    limit = 1 if count == 1 else max(1, kme.status(slave).max_key_per_request)
    keys: list[Key] = []
    while len(keys) < count:
        number = min(limit, count - len(keys))
        keys += kme.enc_keys(slave, number=number, size=KEY_SIZE_BITS).keys
    return keys
