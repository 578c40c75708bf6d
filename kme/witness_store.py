"""The witness in the site's Redis: db/lua/witness.lua tells how it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from kme.errors import Unavailable, Unconfirmed
from kme.keystore import UNCHECKED, KeyStore


@dataclass(frozen=True)
class Mark:
    """How far a store is: `store`, a random id in hexadecimal, belongs to one epoch, within which the count grows."""

    epoch: int
    store: str
    count: int

    def is_ahead_of(self, other: Mark) -> bool:
        """Whether `other` can't be what this was said of: it is behind, or another store in the same epoch."""
        if self.epoch != other.epoch:
            return self.epoch > other.epoch
        return self.store != other.store or self.count > other.count


@dataclass(frozen=True)
class Known:
    """What Redis holds at one moment. `acknowledged`: of its own mark, by Postgres. `confirmed`: the peers that have
    confirmed since the server started; `is_checked`: Postgres was compared since then; `told`: its own mark as peers
    hear it, which stays what it was at that moment until one has confirmed; `run`: of the server, another after each
    start."""

    own: Mark | None
    acknowledged: Mark | None = None
    is_checked: bool = False
    reason: str = ""
    has_stale: bool = False
    peers: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))
    confirmed: frozenset[str] = frozenset()
    told: Mark | None = None
    run: str = ""


class WitnessStore:
    """Every method is one step and raises Unavailable where Redis does not answer."""

    def __init__(self, keystore: KeyStore) -> None:
        self._keystore = keystore

    def read(self) -> Known:
        answer = [one.decode() for one in self._keystore.run("read_witness", [], [])]
        epoch, store, count, acknowledged, checked, reason, stale, told, run, *rest = answer
        own = Mark(int(epoch), store, int(count or 0)) if store else None
        peers, confirmed = {}, set()
        for i in range(0, len(rest), 5):
            kme_id, *values, is_open = rest[i : i + 5]
            peers[kme_id] = Mark(int(values[0]), values[1], int(values[2]))
            if is_open:
                confirmed.add(kme_id)
        return Known(
            own,
            replace(own, count=int(acknowledged)) if own and acknowledged else None,
            bool(checked),
            reason,
            bool(stale),
            peers,
            frozenset(confirmed),
            replace(own, count=int(told or 0)) if own else None,
            run,
        )

    def require(self, kme_ids: Sequence[str]) -> None:
        """Raises Unconfirmed where none of these peers has confirmed, so that none of what is shared may be used."""
        confirmed = self.read().confirmed
        if kme_ids and confirmed.isdisjoint(kme_ids):
            raise Unconfirmed(" and ".join(dict.fromkeys(kme_ids)))

    def require_checked(self) -> None:
        """Raises Unavailable where Postgres was not compared since the server started."""
        if not self.read().is_checked:
            raise Unavailable(UNCHECKED)

    def begin(self, known: Mark | None, new: Mark, reason: str) -> bool:
        """Whether the epoch has begun; not where another has since `known` was read."""
        args = [known.store if known else "", new.store, new.epoch, reason]
        return bool(self._keystore.run("begin_epoch", ["audit", "audit_end"], args))

    def note_record(self, mark: Mark, run: str) -> None:
        """Postgres has acknowledged this mark or a later one, and was compared with it. `run`: in which it was read."""
        self._keystore.run("note_record", [], [mark.store, mark.count, run])

    def hear(self, kme_id: str, mark: Mark, confirmed_store: str = "") -> Mark:
        """The latest of a peer: this, or what was heard before. `confirmed_store`: the store of this site that it has
        confirmed; what is shared with it is open then, unless this mark is behind."""
        args = [kme_id, mark.epoch, mark.store, mark.count, confirmed_store]
        outcome, *heard = self._keystore.run("hear_witness", ["audit"], args)
        if outcome == b"none":
            raise Unavailable("the key store has no epoch yet: try again")
        epoch, store, count = heard
        return Mark(int(epoch), store.decode(), int(count))
