"""Batches: keys cut by the block's owner and stored at both KMEs before either hands them out (docs/protocols.md).

Owner:  record (Postgres) → send → `committed` by the peer → fill the own pool → settled.
Peer:   take the range out of the block and store the keys (one Redis step) → `committed`.

What is recorded is sent, unchanged, until it is answered. Each arrow may be cut off by a crash; every step after the
first does nothing where it took place before, so `redrive` goes through all of them again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

from kme.block_records import BlockRecords
from kme.catalogue import Catalogue
from kme.cutting import Cutter
from kme.errors import Conflict, NotHere, Unavailable
from kme.etsi014 import connection_json
from kme.model import (
    CONFIRMATION_BITS,
    MAX_ADDITIONAL_SLAVES,
    MAX_KEY_SIZE_BITS,
    MIN_KEY_SIZE_BITS,
    Batch,
    BatchState,
    Block,
    Connection,
    KmeSettings,
    Link,
    connection_id_of,
)
from kme.peer_wire import batch_json
from kme.recipients import Recipients, recipients_of
from mutual_tls.client import Peer, PeerError, Refused

log = logging.getLogger(__name__)


class BatchRefused(Unavailable):
    """The peer refused a batch for good, and its bits are burned. Another may succeed, once the cause is gone."""


def lay(
    block: Block,
    connection: Connection,
    size_bits: int,
    count: int,
    recipients: Recipients | None = None,
    request_id: UUID | None = None,
    new_id: Callable[[], UUID] = uuid4,
) -> Batch:
    """A batch at the block's cursor: as many keys as asked for, or as there is room for. Key ids are random UUID4."""
    recipients = recipients or recipients_of(connection)
    count = min(count, block.uncut_bits // size_bits)
    return Batch(
        batch_id=new_id(),
        block_id=block.block_id,
        offset_bits=block.cursor_bits,
        key_size_bits=size_bits,
        connection_id=connection.connection_id,
        master_sae_id=connection.master_sae_id,
        slave_sae_id=connection.slave_sae_id,
        key_ids=tuple(new_id() for _ in range(count)),
        recipients=recipients.at_peer,
        own_recipients=recipients.here,
        request_id=request_id,
    )


def refusal(batch: Batch, block: Block, connection: Connection | None, sender_kme_id: str) -> str | None:
    """Why the peer refuses a batch for good, as far as records tell; overlaps and known key ids are seen by cut.lua.

    `connection` is None where both its SAEs are the sender's; then all there is to do here is to destroy the bits, or
    to store copies for additional slaves.
    """
    if block.owner_kme_id != sender_kme_id:
        return f"block {block.block_id} is not {sender_kme_id}'s"
    if block.state != "confirmed":
        return f"block {block.block_id} is {block.state}, not confirmed"
    if batch.connection_id != connection_id_of(batch.master_sae_id, batch.slave_sae_id):
        return f"connection {batch.connection_id} is not that of the two SAEs"
    if connection is not None and connection.source_kme_id != sender_kme_id:
        return f"connection {connection.connection_id} does not start at {sender_kme_id}"
    if connection is not None and connection.slave_sae_id not in batch.recipients:
        return f"the recipients lack the slave of connection {connection.connection_id}"
    if len(set(batch.recipients)) != len(batch.recipients) or len(batch.recipients) > MAX_ADDITIONAL_SLAVES + 1:
        return f"the recipients are not up to {MAX_ADDITIONAL_SLAVES + 1} SAEs, each once"
    size = batch.key_size_bits
    if size % 8 or not MIN_KEY_SIZE_BITS <= size <= MAX_KEY_SIZE_BITS:
        return f"key_size_bits {size} is not a multiple of 8 in {MIN_KEY_SIZE_BITS}..{MAX_KEY_SIZE_BITS}"
    if batch.offset_bits % 8 or batch.offset_bits < CONFIRMATION_BITS or batch.end_bits > block.length_bits:
        return f"the range {batch.offset_bits}..{batch.end_bits} is not inside the block"
    if not batch.key_ids or len(set(batch.key_ids)) != len(batch.key_ids):
        return "a batch has one or more key ids, each once"
    return None


class BatchOwner:
    """The side that cuts. Only the KME that asked for a block does: the two ends can never allocate the same bits."""

    def __init__(self, settings: KmeSettings, records: BlockRecords, cutter: Cutter, catalogue: Catalogue) -> None:
        self._settings = settings
        self._records = records
        self._cutter = cutter
        self._catalogue = catalogue

    def fill(
        self,
        connection: Connection,
        link: Link,
        peer: Peer,
        size_bits: int,
        count: int,
        recipients: Recipients | None = None,
        request_id: UUID | None = None,
    ) -> int:
        """Puts up to `count` new keys into the connection's pool of that size; how many, once they are deliverable.

        With `recipients` beside the slave, into the pool of one request; its batches stay unsettled (kme/on_demand.py).

        Fewer where the blocks have no more bits. Raises PeerError where the peer gives no answer, Unavailable where a
        store does not or the peer refuses; what was recorded by then is redriven or burned.
        """
        self._cutter.require_confirmed(link.peer_kme_id)
        filled_count = 0
        # Its time runs from before the first send: it must not outlast the other end's, whenever that begins.
        times = {"recorded_ms": self._cutter.fast_clock_ms(), "ttl_s": self._settings.pool_ttl_of(connection)}
        while filled_count < count:
            wanted = min(count - filled_count, self._settings.max_batch_key_count)
            batch = self._records.record_batch(
                self._settings.kme_id,
                link.name,
                size_bits,
                lambda block, wanted=wanted: replace(
                    lay(block, connection, size_bits, wanted, recipients, request_id), **times
                ),
            )
            if batch is None:
                break
            if self.drive(batch, peer) == "refused":
                raise BatchRefused(f"{link.peer_kme_id} refused a batch of keys; its bits are burned")
            filled_count += len(batch.key_ids)
        return filled_count

    def drive(self, batch: Batch, peer: Peer) -> BatchState:
        """One attempt to settle a recorded batch. Raises PeerError or Unavailable where its outcome stays unknown."""
        try:
            reply = peer.request("POST", "/v1/batches", json=batch_json(batch)).json
        except Refused as refused:
            if refused.status in (400, 409):
                return self._give_up(batch, refused.message)
            if refused.status == 404:
                self._introduce(batch, peer)
            raise
        if not isinstance(reply, dict) or reply.get("state") != "committed":
            raise Unavailable("the peer's answer to a batch is not understood")
        outcome = self._cutter.to_pool(batch)
        if outcome not in ("done", "again"):
            return self._give_up(batch, f"it could not be cut here: {outcome}")
        if batch.request_id is None:
            self._records.settle(batch.batch_id, "committed")
        return "committed"

    def redrive(self, link: Link, peer: Peer) -> None:
        """Sends every batch whose outcome is unknown again, as it was."""
        refused: Refused | None = None
        for batch in self._records.unsettled(link.name):
            try:
                self.drive(batch, peer)
            except Refused as error:  # this one has to wait; the next may not
                refused = error
        if refused:
            raise refused

    def _give_up(self, batch: Batch, reason: str) -> BatchState:
        # Settled first: were its bits burned first, a redrive could still be committed by the peer.
        self._records.settle(batch.batch_id, "refused", reason)
        self._cutter.burn(batch)
        log.warning(
            "batch %s of %d keys was refused, its bits are burned: %s", batch.batch_id, len(batch.key_ids), reason
        )
        return "refused"

    def _introduce(self, batch: Batch, peer: Peer) -> None:
        """The peer does not know the connection (yet, or any more): tell it, and the batch can go on next time."""
        connection = self._catalogue.by_id(batch.connection_id)
        if connection is not None:
            try:
                peer.request("PUT", f"/v1/connections/{batch.connection_id}", json=connection_json(connection))
            except PeerError as error:
                log.warning("connection %s can't be made known to the peer: %s", batch.connection_id, error)


class BatchPeer:
    """The other side: it says `committed` only when `dec_keys` would succeed."""

    def __init__(self, settings: KmeSettings, records: BlockRecords, cutter: Cutter, catalogue: Catalogue) -> None:
        self._settings = settings
        self._records = records
        self._cutter = cutter
        self._catalogue = catalogue

    def commit(self, sender_kme_id: str, batch: Batch) -> None:
        """Makes the keys deliverable to the recipients. Raises NotHere until the connection is told, else Conflict."""
        connection = self._catalogue.by_id(batch.connection_id)
        if connection is None and batch.slave_sae_id in batch.recipients:
            raise NotHere(f"connection {batch.connection_id} is not known at {self._settings.kme_id}")
        block = self._records.block(batch.block_id)
        if block is None:
            raise Conflict(f"block {batch.block_id} never was at {self._settings.kme_id}")
        reason = refusal(batch, block, connection, sender_kme_id) or self._strange(batch)
        if reason is None:
            outcome = self._cutter.to_recipients(batch)
            reason = None if outcome in ("done", "again") else _REASONS[outcome]
        if reason is not None:
            raise Conflict(f"batch {batch.batch_id}: {reason}")

    def _strange(self, batch: Batch) -> str | None:
        """Why the SAEs of a batch are not as it says: recipients have to be of this KME, its master of the sender's."""
        if self._catalogue.is_own(batch.master_sae_id):
            return f"master SAE {batch.master_sae_id} is at {self._settings.kme_id}"
        strangers = [one for one in batch.recipients if not self._catalogue.is_own(one)]
        return f"recipients: {', '.join(strangers)} is not registered at {self._settings.kme_id}" if strangers else None


_REASONS = {
    "differs": "another batch has this id",
    "gone": "the bits of its block are lost",
    "void": "it was voided",
    "overlap": "its range was cut before",
    "known_key": "one of its key ids is in use",
    "removed": "its connection was removed",
}
