"""The end of a block: the owner says that no more is cut from it, and both ends destroy what is left."""

from __future__ import annotations

from uuid import UUID

from kme.block_records import BlockRecords
from kme.errors import Conflict
from kme.keystore import KeyStore
from kme.model import Block, KmeSettings
from mutual_tls.client import Peer


class Closure:
    def __init__(self, settings: KmeSettings, records: BlockRecords, keystore: KeyStore) -> None:
        self._settings = settings
        self._records = records
        self._keystore = keystore

    def ask(self, block: Block, peer: Peer) -> None:
        """The owner's side, for a block that is `closing`. The peer goes first; until it has, this is repeated."""
        peer.request("POST", f"/v1/blocks/{block.block_id}/closure")
        self.close(block)

    def answer(self, sender_kme_id: str, block_id: UUID) -> None:
        """The peer's side. A block that has not come yet is closed too: a late hand-off is then dropped."""
        link = self._settings.link_to(sender_kme_id)
        if link is None:
            raise Conflict(f"{sender_kme_id} is not at the other end of a link of {self._settings.kme_id}")
        tombstone = Block(block_id, link.name, sender_kme_id, 0, "closed")
        block = self._records.add_block(tombstone)
        if block.owner_kme_id != sender_kme_id:
            raise Conflict(f"block {block_id} is not {sender_kme_id}'s")
        self.close(block)

    def close(self, block: Block) -> None:
        """This side alone: destroys what is left. Safe to repeat."""
        # What was confirmed and is too short for another key is burned; what never could be used is destroyed.
        self._keystore.close_block(block.block_id, "burned" if block.cursor_bits else "destroyed")
        self._records.set_closed(block.block_id)
