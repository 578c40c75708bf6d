"""Batches whose request came to nothing: its caller has gone, or not all of its keys could be cut.

Only the owner voids a batch, and only where its keys were not delivered. What it has taken back is burned at both KMEs;
the cut's marker stays until the block is closed, so that a call that is still on its way changes nothing.
"""

from __future__ import annotations

import logging

from kme.block_records import BlockRecords
from kme.cutting import Cutter
from kme.errors import Conflict
from kme.model import Batch
from kme.peer_wire import batch_json
from kme.request_records import RequestRecords
from mutual_tls.client import Peer, Refused

log = logging.getLogger(__name__)


class Voiding:
    """The owner's side."""

    def __init__(self, requests: RequestRecords, cutter: Cutter) -> None:
        self._requests = requests
        self._cutter = cutter

    def void(self, batch: Batch, peer: Peer) -> None:
        """For a batch that is recorded as `voiding`; safe to repeat, and has to be until it succeeds.

        The store decides whether the master was faster. Raises PeerError or Unavailable where the rest is for later.
        """
        if self._cutter.take_back(batch) == "delivered":
            self._requests.settle(batch.batch_id, "committed")
            return
        try:
            peer.request("POST", f"/v1/batches/{batch.batch_id}/void", json=batch_json(batch))
        except Refused as refused:
            if refused.status not in (400, 409):
                raise
            log.warning("batch %s is voided here alone: %s", batch.batch_id, refused.message)
        self._requests.settle(batch.batch_id, "voided")


class VoidingPeer:
    """The other side: copies that were not fetched yet are burned. A batch that never came is shut out."""

    def __init__(self, records: BlockRecords, cutter: Cutter) -> None:
        self._records = records
        self._cutter = cutter

    def void(self, sender_kme_id: str, batch: Batch) -> None:
        block = self._records.block(batch.block_id)
        if block is None or block.owner_kme_id != sender_kme_id:
            raise Conflict(f"block {batch.block_id} is not {sender_kme_id}'s")
        if self._cutter.forget(batch) == "differs":
            raise Conflict(f"batch {batch.batch_id}: another batch has this id")
