"""Wraps anew, under the current KEK, whatever the key store holds under another: a few values a step, beside all else.

Each value is replaced only if it still is what it was, so what is cut, delivered or destroyed meanwhile stays so. A
step that came too late for one is made up for in the next pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from uuid import UUID

from kme.errors import Unavailable
from kme.keyring import KeyRing
from kme.keystore import BEFORE_KEY_IN_COPY, BEFORE_KEY_IN_POOL, KeyStore
from kme.keywrap import block_context, counts_context, fingerprint_in, key_context

log = logging.getLogger(__name__)

_MOVED_MOST = 2_000  # positions that a record is searched for towards the beginning of its pool


class Rewrapping:
    def __init__(self, keystore: KeyStore, keyring: KeyRing, at_once: int = 200) -> None:
        self._keystore = keystore
        self._keyring = keyring
        self._at_once = at_once

    def one_pass(self) -> Iterator[int]:
        """Goes through the whole store once. After each step of at most `at_once` values it gives the number of those
        it found under another KEK; what it can't unwrap, nobody can, and does not count."""
        yield from self._byte_counts()
        for kind, rewrap in (("block", self._block), ("pool", self._pool), ("copies", self._copies)):
            cursor = 0
            while True:
                with self._keystore.answering() as store:
                    cursor, names = store.scan(cursor, match=f"{kind}:*", count=self._at_once)
                for name in names:
                    yield from rewrap(name.decode())
                yield 0
                if not cursor:
                    break

    def _byte_counts(self) -> Iterator[int]:
        wrapped, version = self._keystore.byte_counts()
        if wrapped is None or not self._is_old(wrapped):
            return
        if (again := self._rewrapped(wrapped, counts_context(version), "byte_counts")) is not None:
            self._keystore.run("rewrap_fields", ["byte_counts", "rewrapped"], ["counts", wrapped, again])
            yield 1

    def _block(self, name: str) -> Iterator[int]:
        block_id = UUID(name.removeprefix("block:"))
        stored = self._keystore.block(block_id)
        if stored is not None and self._is_old(stored.wrapped):
            context = block_context(block_id, stored.version)
            if (again := self._rewrapped(stored.wrapped, context, name)) is not None:
                self._keystore.run("rewrap_fields", [name, "rewrapped"], ["bits", stored.wrapped, again])
                yield 1

    def _pool(self, name: str) -> Iterator[int]:
        with self._keystore.answering() as store:
            end = int(store.llen(name))
        # From the end: what is taken at the beginning moves the rest towards it, so that nothing is passed over.
        while end > 0:
            first = max(0, end - self._at_once)
            with self._keystore.answering() as store:
                records = store.lrange(name, first, end - 1)
            old = [one for one in records if self._is_old(one[BEFORE_KEY_IN_POOL:])]
            if old:
                yield self._rewrap_records(name, old, first, end - 1)
            end = first

    def _rewrap_records(self, name: str, old: list[bytes], first: int, last: int) -> int:
        _, owner_id, _ = name.split(":")
        with self._keystore.answering() as store:
            # A pool of one request's own does not tell the connection, but who is entitled to its keys does.
            entitled = store.hmget("entitlement", [one[:16] for one in old])
        replaced: list[bytes] = []
        for one, of in zip(old, entitled, strict=True):
            context = key_context(one[:16], UUID(of[:36].decode() if of else owner_id).bytes)
            if (again := self._rewrapped(one[BEFORE_KEY_IN_POOL:], context, name)) is not None:
                replaced += (one, one[:BEFORE_KEY_IN_POOL] + again)
        if replaced:
            args = [max(0, first - _MOVED_MOST), last, *replaced]
            self._keystore.run("rewrap_records", [name, "rewrapped"], args)
        return len(replaced) // 2

    def _copies(self, name: str) -> Iterator[int]:
        connection_id = UUID(name.removeprefix("copies:"))
        cursor = 0
        while True:
            with self._keystore.answering() as store:
                cursor, copies = store.hscan(name, cursor, count=self._at_once)
            replaced: list[bytes] = []
            for field, copy in copies.items():
                if self._is_old(copy[BEFORE_KEY_IN_COPY:]):
                    context = key_context(field[:16], connection_id.bytes)
                    if (again := self._rewrapped(copy[BEFORE_KEY_IN_COPY:], context, name)) is not None:
                        replaced += (field, copy, copy[:BEFORE_KEY_IN_COPY] + again)
            if replaced:
                self._keystore.run("rewrap_fields", [name, "rewrapped"], replaced)
                yield len(replaced) // 3
            if not cursor:
                break

    def _is_old(self, wrapped: bytes) -> bool:
        return fingerprint_in(wrapped) != self._keyring.fingerprint

    def _rewrapped(self, wrapped: bytes, context: bytes, name: str) -> bytes | None:
        try:
            return self._keyring.wrap(self._keyring.unwrap(wrapped, context), context)
        except Unavailable as error:
            log.warning("%s: a value stays as it is: %s", name, error)
            return None
