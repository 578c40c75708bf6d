"""What the scheduler decides, apart from what it does: which pools to fill, by how much, and when to back off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kme.model import Connection


@dataclass(frozen=True)
class Need:
    """A pool that is to be filled: `missing_count` keys of the connection's size bring it to its high watermark."""

    connection: Connection
    missing_count: int

    @property
    def bits(self) -> int:
        return self.missing_count * self.connection.key_size_bits


class Watermarks:
    """Filling a pool starts below its low watermark and goes on until it is full: one long fill is cheaper than many.

    A pool seen for the first time is filled, wherever it is: what came before a restart is not known.
    """

    def __init__(self, low: float) -> None:
        self._low = low
        self._filling: dict[UUID, bool] = {}

    def need(self, connection: Connection, stored_count: int, pending_count: int = 0) -> Need | None:
        """`pending_count` keys are recorded as cut for this pool and not in it yet."""
        full, expected = connection.max_key_count, stored_count + pending_count
        filling = self._filling.get(connection.connection_id, True) or expected < self._low * full
        self._filling[connection.connection_id] = filling = filling and expected < full
        return Need(connection, full - expected) if filling else None

    def filled(self, connection: Connection) -> None:
        self._filling[connection.connection_id] = False


def fair_shares(needs: Sequence[Need], supply_bits: int) -> list[int]:
    """How many keys each need gets from a supply that may be too small: equal bits, what one leaves to the others."""
    shares = [0] * len(needs)
    waiting = sorted(range(len(needs)), key=lambda i: needs[i].bits)
    while waiting:
        i = waiting.pop(0)  # the smallest first, so that what it does not use of its part is known for the rest
        size = needs[i].connection.key_size_bits
        part = supply_bits // (len(waiting) + 1)
        shares[i] = min(needs[i].missing_count, part // size)
        supply_bits -= shares[i] * size
    # What rounding left may still make a whole key for someone.
    for i, need in enumerate(needs):
        size = need.connection.key_size_bits
        more = min(need.missing_count - shares[i], supply_bits // size)
        shares[i] += more
        supply_bits -= more * size
    return shares


def whole_requests(connections: Sequence[Connection]) -> list[tuple[int, int]]:
    """Pairs of key size in bits and key count that a link keeps bits for: the largest request of each connection with
    additional slaves, since it is delivered whole or not at all."""
    return [(one.key_size_bits, one.max_key_per_request) for one in connections if one.max_sae_id_count]


def is_short(
    blocks_bits: Sequence[int], needed_bits: int, reserve_bits: int, wanted: Sequence[tuple[int, int]]
) -> bool:
    """Whether blocks with so many uncut bits each are too few for the pools and, beside them, a reserve or any one of
    `wanted`, pairs of key size in bits and key count. A key never spans two blocks."""
    if sum(blocks_bits) < needed_bits + reserve_bits:
        return True
    return any(sum(bits // size for bits in blocks_bits) < count + -(-needed_bits // size) for size, count in wanted)


class Ages:
    """How long each of a changing set of things has been in it, in seconds of a monotonic clock.

    It begins when this process first sees one: after a restart the others get their time to come back, too.
    """

    def __init__(self) -> None:
        self._first_seen_s: dict[UUID, float] = {}

    def at(self, now_s: float, ids: Sequence[UUID]) -> dict[UUID, float]:
        """The age of each; those that are not in the set any more are forgotten."""
        self._first_seen_s = {one: self._first_seen_s.get(one, now_s) for one in ids}
        return {one: now_s - first_s for one, first_s in self._first_seen_s.items()}


class BackOff:
    """Doubling pauses after failures in a row. Times are seconds of a monotonic clock."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 3.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = 0.0
        self._until_s = float("-inf")

    def failed(self, now_s: float) -> None:
        self._pause_s = min(self._longest_s, self._pause_s * 2 or self._first_s)
        self._until_s = now_s + self._pause_s

    def succeeded(self) -> None:
        self._pause_s, self._until_s = 0.0, float("-inf")

    def over(self, now_s: float) -> bool:
        return now_s >= self._until_s
