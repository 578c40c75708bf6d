"""Hands finished blocks to the site's own KME, and offers each again until the KME acknowledges it."""

from __future__ import annotations

import logging
import threading

from mutual_tls import request_id
from mutual_tls.client import Peer, PeerError, Refused
from qkde.bb84.report import Block
from qkde.node.spool import Spool

log = logging.getLogger(__name__)

RETRY_S = 1.0
CONTRADICTION = 409


class Handover:
    def __init__(self, spool: Spool, kme: Peer) -> None:
        self._spool = spool
        self._kme = kme
        self._released = threading.Event()
        self._said: dict[str, str] = {}

    def release(self, block_id: str) -> None:
        """The round of this block ended well: offer it from now on."""
        self._spool.release(block_id)
        self._released.set()

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`. What waits from before a crash is offered first."""
        self._released.set()
        while not stopping.is_set():
            if not self._released.wait(RETRY_S):
                continue
            self._released.clear()
            if not self.offer_all():
                stopping.wait(RETRY_S)
                self._released.set()

    def offer_all(self) -> bool:
        """Offers every released block once; True when none is left."""
        return all([self._offer(block) for block in self._spool.released()])

    def _offer(self, block: Block) -> bool:
        with request_id.begun(block.block_id):  # as the round that made it
            return self._offered(block)

    def _offered(self, block: Block) -> bool:
        try:
            self._kme.request(
                "PUT",
                f"/v1/blocks/{block.block_id}",
                params={"link": block.link, "owner": block.owner, "length_bits": block.length_bits},
                octets=block.bits,
            )
        except Refused as refusal:
            if refusal.status != CONTRADICTION:
                return self._wait(block, refusal)
            # The KME knows this id with other contents: these bits can never be a key, so they are destroyed.
            log.error("block %s is destroyed: %s", block.block_id, refusal)
        except PeerError as error:
            return self._wait(block, error)
        self._said.pop(block.block_id, None)
        self._spool.forget(block.block_id)
        return True

    def _wait(self, block: Block, trouble: PeerError) -> bool:
        """One line when trouble begins or changes, not one per attempt."""
        if self._said.get(block.block_id) != str(trouble):
            self._said[block.block_id] = str(trouble)
            log.warning("block %s waits: %s", block.block_id, trouble)
        return False
