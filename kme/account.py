"""Where every secret bit of a site is (design, invariant 7): what came in is what is there, was delivered, or is gone.

Every copy of a key counts, so that each is accounted for by itself, whatever becomes of the others. The first copy at
a site is made of bits that came in; further ones, where several SAEs of the site get the same key, are `copied`. Each
Redis script moves bits from one entry to another in the step in which it moves them in fact, so that the entries add up
at every moment. `reserved` is the part of the remainder that Postgres has recorded as cut and is on its way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from kme.block_records import BlockRecords
from kme.keystore import KeyStore


@dataclass(frozen=True)
class Account:
    """In bits, since the site's Redis was empty. `received` and `copied` are what came in, the others where it is."""

    received: int
    copied: int
    remainder: int
    reserved: int
    stored: int
    delivered: int
    burned: int
    destroyed: int
    expired: int

    @property
    def balanced(self) -> bool:
        spent = self.delivered + self.burned + self.destroyed + self.expired
        return self.received + self.copied == self.remainder + self.reserved + self.stored + spent

    def as_json(self) -> dict[str, int | bool]:
        entries = {f"{entry.name}_bits": getattr(self, entry.name) for entry in fields(self)}
        return entries | {"balanced": self.balanced}


def account_of(records: BlockRecords, keystore: KeyStore) -> Account:
    entries = keystore.account()
    # Two stores can't be read at one moment: a batch settled in between would be counted as more than there is.
    reserved = min(records.reserved_bits(), entries["remainder"])
    return Account(**entries | {"remainder": entries["remainder"] - reserved, "reserved": reserved})


def block_totals(records: BlockRecords, keystore: KeyStore, link: str) -> list[dict[str, Any]]:
    """A link's blocks that still have bits, by owner and state. Redis tells how many: only the owner has a cursor."""
    blocks = records.open_blocks(link)
    uncut_bits = iter(keystore.uncut_bits([one.block_id for one in blocks]))
    totals = []
    for (owner_kme_id, state), same in groupby(blocks, key=lambda one: (one.owner_kme_id, one.state)):
        bits = [next(uncut_bits) for _ in same]
        totals.append({"owner_kme_id": owner_kme_id, "state": state, "block_count": len(bits), "uncut_bits": sum(bits)})
    return totals
