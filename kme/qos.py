"""Quality of service: how a connection's QoS decides what its pool gets of a link's bits (names: ETSI GS QKD 004).

Strictly in this order, and each only from what is left:
1. What `Min_bps` owes: the rate since the connection last got bits, of the last 10 s at most.
2. The rest, by `Priority`: the highest number first, 0 where none is given. A lower one gets what the higher leave.
Within one priority, bits are shared alike (`fair_shares`). No connection gets more than `Max_bps` allows: its rate,
after a pause one second's worth at once, or one key where that is more. 0 is no limit and no claim. Rates count bits
put into pools by the scheduler, in seconds of its clock; keys cut on demand are bounded by what a request may ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from kme.model import Connection
from kme.planning import Need, fair_shares

_OWED_S = 10.0
_BURST_S = 1.0


@dataclass(frozen=True)
class Claim:
    """A need under the rules: at most `most_count` keys now, of which `least_count` are owed."""

    need: Need
    most_count: int
    least_count: int = 0

    @property
    def priority(self) -> int:
        return self.need.connection.qos.get("Priority", 0)

    @property
    def bits(self) -> int:
        return self.most_count * self.need.connection.key_size_bits


def shares(claims: Sequence[Claim], supply_bits: int) -> list[int]:
    """How many keys each claim gets from a supply that may be too small."""
    given = [0] * len(claims)
    for limits in ([claim.least_count for claim in claims], [claim.most_count for claim in claims]):
        for priority in sorted({claim.priority for claim in claims}, reverse=True):
            members = [i for i, claim in enumerate(claims) if claim.priority == priority]
            needs = [replace(claims[i].need, missing_count=max(0, limits[i] - given[i])) for i in members]
            for i, more in zip(members, fair_shares(needs, supply_bits), strict=True):
                given[i] += more
                supply_bits -= more * claims[i].need.connection.key_size_bits
    return given


class FillRates:
    """What each connection may still get, and is owed, at a moment: two token buckets, both full at first."""

    def __init__(self) -> None:
        self._allowed: dict[UUID, Bucket] = {}
        self._owed: dict[UUID, Bucket] = {}

    def claim(self, need: Need, now_s: float) -> Claim:
        connection = need.connection
        size, most_count, least_count = connection.key_size_bits, need.missing_count, 0
        if bucket := self._bucket(self._allowed, connection, "Max_bps", _BURST_S):
            most_count = min(most_count, int(bucket.level_at(now_s)) // size)
        if bucket := self._bucket(self._owed, connection, "Min_bps", _OWED_S):
            least_count = min(most_count, int(bucket.level_at(now_s)) // size)
        return Claim(need, most_count, least_count)

    def filled(self, connection: Connection, key_count: int, now_s: float) -> None:
        for buckets in (self._allowed, self._owed):
            if bucket := buckets.get(connection.connection_id):
                bucket.take(key_count * connection.key_size_bits, now_s)

    def _bucket(self, kept: dict[UUID, Bucket], connection: Connection, name: str, seconds: float) -> Bucket | None:
        rate_bps, connection_id = connection.qos.get(name, 0), connection.connection_id
        if not rate_bps:
            kept.pop(connection_id, None)
            return None
        capacity_bits = max(rate_bps * seconds, connection.key_size_bits)
        known = kept.get(connection_id)
        if known is None or (known.rate_bps, known.capacity_bits) != (rate_bps, capacity_bits):
            known = kept[connection_id] = Bucket(rate_bps, capacity_bits)
        return known


class Bucket:
    """Tokens, one a bit, that come in at `rate_bps` up to `capacity_bits`; times are seconds of a monotonic clock."""

    def __init__(self, rate_bps: float, capacity_bits: float) -> None:
        self.rate_bps = rate_bps
        self.capacity_bits = capacity_bits
        self._level_bits = capacity_bits
        self._seen_s: float | None = None

    def level_at(self, now_s: float) -> float:
        passed_s = 0.0 if self._seen_s is None else max(0.0, now_s - self._seen_s)
        self._seen_s = now_s
        self._level_bits = min(self.capacity_bits, self._level_bits + passed_s * self.rate_bps)
        return self._level_bits

    def take(self, bits: float, now_s: float) -> None:
        self._level_bits = max(0.0, self.level_at(now_s) - bits)
