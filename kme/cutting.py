"""Cutting a range out of a stored block: for a pool, for recipients of this site, or for nobody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from uuid import UUID

from kme.errors import Unavailable, Unconfirmed
from kme.keyring import KeyRing
from kme.keystore import Cut, KeyStore, entitlement
from kme.keywrap import block_context, key_context
from kme.model import CONFIRMATION_BITS, Batch
from kme.witness_store import WitnessStore

_ATTEMPTS = 50  # each lost race means that another cut of the same block succeeded


class Cutter:
    def __init__(self, keystore: KeyStore, keyring: KeyRing, kept_after_pool_s: int) -> None:
        self._keystore = keystore
        self._keyring = keyring
        self._kept_after_pool_s = kept_after_pool_s

    def require_confirmed(self, peer_kme_id: str) -> None:
        """Raises Unconfirmed: a range that can't be used now is better left uncut."""
        WitnessStore(self._keystore).require([peer_kme_id])

    def fast_clock_ms(self) -> int:
        return self._keystore.clocks_ms()[0]

    def untouched(self, block_id: UUID) -> bytes | None:
        """A block's bits, packed; None where it is not here or something was cut from it before."""
        stored = self._keystore.block(block_id)
        if stored is None or stored.version > 0:
            return None
        return self._keyring.unwrap(stored.wrapped, block_context(block_id, stored.version))

    def burn_head(self, block_id: UUID) -> str:
        return self._cut(Cut(b"confirmation", block_id, b"", 0, CONFIRMATION_BITS, "burned"), ())

    def to_pool(self, batch: Batch) -> str:
        """The owner's side of a batch: its keys become deliverable to the master. Outcomes: db/lua/cut.lua."""
        return self._cut(_own_cut(batch), batch.key_ids)

    def to_recipients(self, batch: Batch) -> str:
        """The peer's side: its keys become deliverable to the recipients here. Without any, its bits are destroyed."""
        return self._cut(_peer_cut(batch), batch.key_ids if batch.recipients else ())

    def burn(self, batch: Batch) -> str:
        """A batch that was refused: its bits are never used."""
        return self._cut(replace(_own_cut(batch), entry="burned"), ())

    def take_back(self, batch: Batch) -> str:
        """The owner's side of a voided batch: `voided`, or `delivered` where its master was faster."""
        return self._void(_own_cut(batch), batch.key_ids)

    def forget(self, batch: Batch) -> str:
        """The peer's side of it."""
        return self._void(_peer_cut(batch), batch.key_ids)

    def _void(self, cut: Cut, key_ids: tuple[UUID, ...]) -> str:
        for _ in range(_ATTEMPTS):
            outcome = self._keystore.void(cut, key_ids)
            if outcome == "open":  # it was not cut yet, and now it never will be
                outcome = self._cut(replace(cut, entry="burned"), ())
            if outcome != "filled":  # by another process, between the two steps
                return outcome if outcome in ("delivered", "differs") else "voided"
        raise Unavailable("the batch is being filled and voided by too many at once, try again")

    def _cut(self, cut: Cut, key_ids: tuple[UUID, ...]) -> str:
        for _ in range(_ATTEMPTS):
            stored = self._keystore.block(cut.block_id)
            if stored is None:
                return "gone"
            bits = bytearray(self._keyring.unwrap(stored.wrapped, block_context(cut.block_id, stored.version)))
            wrap = self._keyring.current.wrap  # one KEK for all of it, which the store compares with its own
            first, end, size = cut.first_bit // 8, cut.end_bit // 8, cut.key_size_bits // 8
            keys = []
            for i, key_id in enumerate(key_ids):
                assert cut.connection_id is not None
                key = bytes(bits[first + i * size : first + (i + 1) * size])
                keys.append((key_id, wrap(key, key_context(key_id.bytes, cut.connection_id.bytes))))
            bits[first:end] = bytes(end - first)
            rewrapped = wrap(bytes(bits), block_context(cut.block_id, stored.version + 1))
            copies_ttl_s = cut.pool_ttl_s + self._kept_after_pool_s
            outcome = self._keystore.cut(replace(cut, keys=keys), stored.version, rewrapped, copies_ttl_s)
            if outcome == "closed":
                raise Unconfirmed("the KME at its other end")
            if outcome == "rekeyed":
                self._keystore.claim(self._keyring)
            elif outcome != "raced":
                return outcome
        raise Unavailable("the block is being cut by too many at once, try again")


def _own_cut(batch: Batch) -> Cut:
    pool_id = batch.request_id or batch.connection_id
    return replace(_cut_of(batch), pool_id=pool_id, recipients=batch.own_recipients)


def _peer_cut(batch: Batch) -> Cut:
    entry = "stored" if batch.recipients else "destroyed"
    return replace(_cut_of(batch), entry=entry, recipients=batch.recipients)


def _cut_of(batch: Batch) -> Cut:
    return Cut(
        cut_id=batch.batch_id.bytes,
        block_id=batch.block_id,
        digest=digest_of(batch),
        first_bit=batch.offset_bits,
        end_bit=batch.end_bits,
        entry="stored",
        connection_id=batch.connection_id,
        key_size_bits=batch.key_size_bits,
        recorded_ms=batch.recorded_ms,
        pool_ttl_s=batch.ttl_s,
        entitlement=entitlement(batch.connection_id, batch.master_sae_id, (*batch.recipients, *batch.own_recipients)),
    )


def digest_of(batch: Batch) -> bytes:
    """Tells whether a batch is the same again."""
    key_ids = [str(key_id) for key_id in batch.key_ids]
    recipients = [list(batch.recipients), list(batch.own_recipients)]
    content = [str(batch.connection_id), batch.key_size_bits, batch.offset_bits, key_ids, *recipients]
    return hashlib.sha256(json.dumps(content).encode()).digest()
