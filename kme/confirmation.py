"""Only a confirmed block is cut: both KMEs prove to each other that they hold the same one (docs/protocols.md).

The tags are keyed with the block's own first bits and cover all of it. These are burned on both sides, after the tags
were recorded: a question that comes again is answered from the record.
"""

from __future__ import annotations

import hmac
import json
from typing import Protocol
from uuid import UUID

from kme.block_records import BlockRecords
from kme.cutting import Cutter
from kme.errors import Conflict, NotHere
from kme.model import CONFIRMATION_BITS, Block, KmeSettings
from mutual_tls.client import Peer, Refused


class Mismatch(Conflict):
    """The two KMEs do not hold the same block, and never will."""


def tag(bits: bytes, role: str, block: Block) -> bytes:
    """HMAC-SHA256 under the confirmation key, the first 32 bytes of the block's `bits`, over what is said of the block
    and over all of them; `role` is `owner` or `peer`, so that none is an echo."""
    key = bits[: CONFIRMATION_BITS // 8]
    content = hmac.digest(key, b"block|" + bits, "sha256").hex()
    said = [role, str(block.block_id), block.owner_kme_id, block.link, block.length_bits, content]
    if block.binding is not None:
        said.append(block.binding.hex())
    return hmac.digest(key, json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode(), "sha256")


def binding(bits: bytes, more: bytes) -> bytes:
    """Makes the confirmation of a block cover `more` as well. Keyed like the tags, so it may be recorded."""
    return hmac.digest(bits[: CONFIRMATION_BITS // 8], b"more|" + more, "sha256")


class Asking(Protocol):
    """The owner's side of a confirmation."""

    def ask(self, block: Block, peer: Peer) -> None: ...


class Confirmation:
    def __init__(self, settings: KmeSettings, records: BlockRecords, cutter: Cutter) -> None:
        self._settings = settings
        self._records = records
        self._cutter = cutter

    def ask(self, block: Block, peer: Peer) -> None:
        """The owner's side, for a block of its own that was received. Raises Mismatch where it is to be given up;
        Unreachable, or Refused with another status than 409, where it is to be tried again."""
        owner_tag, peer_tag = self._tags(block)
        self._records.set_tags(block.block_id, owner_tag, peer_tag)
        body = {"link": block.link, "length_bits": block.length_bits, "tag": owner_tag.hex()}
        try:
            reply = peer.request("POST", f"/v1/blocks/{block.block_id}/confirmation", json=body).json
        except Refused as refused:
            if refused.status in (400, 409):
                raise Mismatch(f"the peer does not confirm it: {refused.message}") from refused
            raise
        if not isinstance(reply, dict) or reply.get("tag") != peer_tag.hex():
            raise Mismatch("the peer's tag is wrong: it holds another block under this id")
        self._finish(block)

    def answer(self, sender_kme_id: str, block_id: UUID, link: str, length_bits: int, owner_tag: bytes) -> bytes:
        """The peer's side: its tag. Raises NotHere where the block may still come, Conflict on any mismatch."""
        block = self._records.block(block_id)
        if block is None or block.state == "arriving":
            raise NotHere(f"block {block_id} has not arrived at {self._settings.kme_id} yet")
        if block.owner_kme_id != sender_kme_id:
            raise Conflict(f"block {block_id} is not {sender_kme_id}'s")
        if (block.link, block.length_bits) != (link, length_bits):
            raise Conflict(f"block {block_id} is known on link {block.link} with {block.length_bits} bits here")
        if block.state in ("closing", "closed"):
            raise Conflict(f"block {block_id} is closed")
        expected_tag, peer_tag = self._tags(block)
        if not hmac.compare_digest(expected_tag, owner_tag):
            raise Conflict(f"block {block_id}: the tag does not fit the bits that are here")
        self._records.set_tags(block_id, expected_tag, peer_tag)
        self._finish(block)
        return peer_tag

    def _tags(self, block: Block) -> tuple[bytes, bytes]:
        """The owner's and the peer's tag, as recorded; else as the block's first bits make them."""
        if block.owner_tag is not None and block.peer_tag is not None:
            return block.owner_tag, block.peer_tag
        if block.length_bits < CONFIRMATION_BITS:
            raise Mismatch(f"block {block.block_id} is too short to be confirmed: {block.length_bits} bits")
        bits = self._cutter.untouched(block.block_id)
        if bits is None:
            # Burned by the same question a moment ago, which recorded the tags first; or lost.
            recorded = self._records.block(block.block_id)
            if recorded is None or recorded.owner_tag is None or recorded.peer_tag is None:
                raise Mismatch(f"the bits of block {block.block_id} are lost at {self._settings.kme_id}")
            return recorded.owner_tag, recorded.peer_tag
        return tag(bits, "owner", block), tag(bits, "peer", block)

    def _finish(self, block: Block) -> None:
        if self._cutter.burn_head(block.block_id) == "gone":
            raise Mismatch(f"the bits of block {block.block_id} are lost at {self._settings.kme_id}")
        if not self._records.set_confirmed(block.block_id):
            raise Mismatch(f"block {block.block_id} is closed")
