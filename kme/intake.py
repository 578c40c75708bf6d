"""Blocks from the site's own QKDE, or from a link's folder: taken in once, however often they come."""

from __future__ import annotations

from uuid import UUID

from kme.block_records import BlockRecords
from kme.entropy import ByteCounts
from kme.errors import BadRequest, Conflict
from kme.keyring import KeyRing
from kme.model import MAX_BLOCK_BITS, Block, KmeSettings, Origin


class Intake:
    def __init__(
        self,
        settings: KmeSettings,
        records: BlockRecords,
        keyring: KeyRing,
        byte_counts: ByteCounts,
    ) -> None:
        self._settings = settings
        self._byte_counts = byte_counts
        self._records = records
        self._keyring = keyring

    def take(
        self,
        block_id: UUID,
        link: str,
        owner_kme_id: str,
        length_bits: int,
        bits: bytes,
        origin: Origin = "bb84",
        binding: bytes | None = None,
    ) -> None:
        """Stores a block of `length_bits`, packed. Raises BadRequest, Conflict with what came before, or Unavailable.

        The record comes first and says `arriving` until the bits are in Redis: after a crash the QKDE offers the block
        again and it goes on from there. Afterwards the digest still tells the same block from another.
        """
        self._check(link, owner_kme_id, length_bits, bits, origin)
        context = f"{block_id}|{length_bits}|{link}|{owner_kme_id}".encode()
        digest = self._keyring.digest(bits, context)
        offered = Block(
            block_id, link, owner_kme_id, length_bits, "arriving", digest=digest, origin=origin, binding=binding
        )
        known = self._records.add_block(offered)
        if known.digest is None:
            return  # closed before it came: acknowledged, so that it is not offered again, and dropped
        refuse_another(known, offered)
        if known.state == "arriving":
            peer_kme_id = self._settings.link_named(link).peer_kme_id
            self._byte_counts.store(offered, bits, peer_kme_id)
            self._records.set_received(block_id)

    def _check(self, link: str, owner_kme_id: str, length_bits: int, bits: bytes, origin: Origin) -> None:
        known_link = self._settings.link_named(link)
        if known_link is None:
            names = ", ".join(one.name for one in self._settings.links)
            raise BadRequest(f"link: {link!r} does not end at {self._settings.kme_id}: expected one of {names}")
        if known_link.origin != origin:
            raise BadRequest(f"link: the blocks of {link!r} come from {known_link.origin}, not from {origin}")
        ends = (self._settings.kme_id, known_link.peer_kme_id)
        if owner_kme_id not in ends:
            raise BadRequest(f"owner: {owner_kme_id!r} is not at link {link}: expected {ends[0]} or {ends[1]}")
        if not 1 <= length_bits <= MAX_BLOCK_BITS:
            raise BadRequest(f"length_bits: expected 1..{MAX_BLOCK_BITS}, got {length_bits}")
        if len(bits) != (length_bits + 7) // 8:
            raise BadRequest(
                f"the body has {len(bits)} bytes: expected {(length_bits + 7) // 8} for {length_bits} bits"
            )
        if length_bits % 8 and bits[-1] & (0xFF >> length_bits % 8):
            raise BadRequest("the body's last byte is not filled with zeros")


def refuse_another(known: Block, offered: Block) -> None:
    for name in ("link", "owner_kme_id", "length_bits"):
        if getattr(known, name) != getattr(offered, name):
            raise Conflict(
                f"block {known.block_id} is known with another {name}: {getattr(known, name)},"
                f" not {getattr(offered, name)}"
            )
    if known.digest != offered.digest:
        raise Conflict(f"block {known.block_id} is known with other bits")
