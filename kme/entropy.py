"""How often each byte occurred in the blocks that were taken in, and the Shannon entropy of that.

The counts of a single block say something about its bits (about 1,200 of 100,000), so they are stored as block bits
are: wrapped. What is told is one rounded number over all blocks.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Sequence

from kme.errors import Unavailable
from kme.keyring import KeyRing
from kme.keystore import KeyStore
from kme.keywrap import block_context, counts_context, fingerprint_in
from kme.model import Block

_FORMAT = struct.Struct("<256Q")
_ATTEMPTS = 50  # each lost race means that another block was taken in


class ByteCounts:
    def __init__(self, keystore: KeyStore, keyring: KeyRing) -> None:
        self._keystore = keystore
        self._keyring = keyring

    def store(self, block: Block, bits: bytes, peer_kme_id: str) -> None:
        """Stores a block, unless it was here before, and counts its bytes in the same step. A last byte that is not
        full is left out: its filling is not random.

        Raises Unconfirmed until `peer_kme_id` has confirmed the witness.
        """
        new = Counter(bits[: block.length_bits // 8])
        for _ in range(_ATTEMPTS):
            counts, version = self._counts()
            more = _FORMAT.pack(*(count + new[byte] for byte, count in enumerate(counts)))
            wrap = self._keyring.current.wrap  # one KEK for both, which the store compares with its own
            wrapped = wrap(bits, block_context(block.block_id, 0)), wrap(more, counts_context(version + 1))
            outcome = self._keystore.store_block(block, *wrapped, version, peer_kme_id)
            if outcome in ("done", "again"):
                return
            if outcome == "rekeyed":
                self._keystore.claim(self._keyring)
        raise Unavailable("too many blocks are being taken in at once, try again")

    def entropy(self) -> float:
        """Of all bytes taken in since the store was empty, in bits per byte: 0..8, to four decimals."""
        counts, _ = self._counts()
        return round(shannon_entropy(counts), 4)

    def _counts(self) -> tuple[Sequence[int], int]:
        wrapped, version = self._keystore.byte_counts()
        if wrapped is None or self._keyring.was_destroyed(fingerprint_in(wrapped)):  # in an old copy of the store
            return [0] * 256, version
        return _FORMAT.unpack(self._keyring.unwrap(wrapped, counts_context(version))), version


def shannon_entropy(counts: Sequence[int]) -> float:
    """Of the distribution that the counts show, in bits; 0 where there are none (Shannon 1948)."""
    total = sum(counts)
    return math.fsum(-count / total * math.log2(count / total) for count in counts if count) if total else 0.0
