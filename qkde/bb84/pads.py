"""One-time pads for the tags: how two ends agree on the next one, and how their pools are refilled.

A *pad* is used up by one round: the secret of Bob's tag, then the secret of Alice's, so that the two directions never
share a bit. Pads are numbered from 0 since the link's pre-shared key. Each end offers what it has when a round starts;
the round's pad is the first that neither end has used, so that an end restored from a backup jumps over what it has
forgotten that it used. New pads come from the round's own secret bits, before the KME's share, and follow the last pad
that both ends have: a pad that reached only one end, since the last answer was lost, is replaced.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qkde.bb84.authentication import SECRET_BYTES, forgery_bound, tag
from qkde.bb84.errors import MalformedMessage, RoundFailed

if TYPE_CHECKING:
    from qkde.bb84.ports import PadPool

PAD_BYTES = 2 * SECRET_BYTES
PAD_BITS = 8 * PAD_BYTES
PRE_SHARED_PADS = 32
KEY_ID_BYTES = 8
PRE_SHARED_KEY_BYTES = KEY_ID_BYTES + PRE_SHARED_PADS * PAD_BYTES


@dataclass(frozen=True)
class PadOffer:
    """The pads an end has left: from `first` to `end` (excluded), counted since the pre-shared key `key_id`."""

    key_id: str
    first: int
    end: int

    def __post_init__(self) -> None:
        if type(self.key_id) is not str or not 0 < len(self.key_id) <= 64:
            raise MalformedMessage("key_id must be a text of 1 to 64 characters")
        if any(type(value) is not int or not 0 <= value < 2**32 for value in (self.first, self.end)):
            raise MalformedMessage("first and end must be integers from 0 to 2^32 − 1")


@dataclass(frozen=True)
class PadState:
    """What a pool keeps. `pads`: those left, from number `first` on; `epsilon`: forgery bounds of all tags so far."""

    key_id: str
    first: int
    pads: bytes = field(repr=False)
    epsilon: float = 0.0

    @classmethod
    def of_key(cls, pre_shared_key: bytes, epsilon: float = 0.0) -> "PadState":
        """Its first 8 bytes are only its public name; whole pads follow."""
        name, pads = pre_shared_key[:KEY_ID_BYTES], pre_shared_key[KEY_ID_BYTES:]
        if not pads or len(pads) % PAD_BYTES:
            raise ValueError(f"a pre-shared key has {KEY_ID_BYTES} bytes and pads of {PAD_BYTES} bytes")
        return cls(name.hex(), 0, pads, epsilon)

    @property
    def offer(self) -> PadOffer:
        return PadOffer(self.key_id, self.first, self.first + len(self.pads) // PAD_BYTES)

    def without(self, agreed: PadOffer, epsilon: float) -> tuple["PadState", bytes]:
        """Takes the pad `agreed.first` out, with all before it; RoundFailed for one that is used or not there."""
        place = agreed.first - self.first
        if agreed.key_id != self.key_id or not 0 <= place < len(self.pads) // PAD_BYTES:
            raise RoundFailed(f"authentication failed: pad {agreed.first} is used already, or not in the pool")
        begin, end = PAD_BYTES * place, PAD_BYTES * (place + 1)
        left = replace(self, first=agreed.first + 1, pads=self.pads[end:], epsilon=self.epsilon + epsilon)
        return left, self.pads[begin:end]

    def refilled(self, agreed: PadOffer, pads: bytes) -> "PadState":
        """With `pads` from number `agreed.end` on; what this end had there reached nobody else."""
        kept = PAD_BYTES * (agreed.end - self.first)
        if agreed.key_id != self.key_id or not 0 <= kept <= len(self.pads) or len(pads) % PAD_BYTES:
            raise RoundFailed("the pad pool has changed during the round")
        return replace(self, pads=self.pads[:kept] + pads)


class MemoryPads:
    """The port `PadPool` for one process: simulations and tests. Both ends start from one pre-shared key."""

    def __init__(self, pre_shared_key: bytes) -> None:
        self._state = PadState.of_key(pre_shared_key)

    def state(self) -> PadState:
        return self._state

    def reserve(self, agreed: PadOffer, epsilon: float) -> bytes:
        self._state, pad = self._state.without(agreed, epsilon)
        return pad

    def refill(self, agreed: PadOffer, pads: bytes) -> None:
        self._state = self._state.refilled(agreed, pads)


def pre_shared_key(random_bytes: Callable[[int], bytes]) -> bytes:
    """What both ends of a link must be given before their first round."""
    return random_bytes(PRE_SHARED_KEY_BYTES)


@dataclass(frozen=True)
class Tags:
    bob: bytes = field(repr=False)
    alice: bytes = field(repr=False)


def refill_of(agreed: PadOffer, secret_bits: int, pads_kept: int) -> int:
    """How many of the block's bits become pads: what the pool lacks of `pads_kept` once this round's is used.

    RoundFailed when the block could not replace the pad it costs: such a link would live off its pre-shared key.
    """
    missing = max(0, pads_kept - (agreed.end - agreed.first - 1))
    affordable = (secret_bits - 8) // PAD_BITS
    if missing and affordable < 1:
        raise RoundFailed(
            f"no secret bits are left: the block's {secret_bits} do not replace the {PAD_BITS} of its pad"
        )
    return PAD_BITS * min(missing, affordable)


class RoundPads:
    """One round's dealings with a pool, the same at both ends, and the account of them."""

    def __init__(self, pool: "PadPool", link: str) -> None:
        self.used_bits = 0
        self.refill_bits = 0
        self.left_bits: int | None = None
        self.epsilon: float | None = None
        self._pool, self._link = pool, link
        self._own: PadOffer | None = None
        self._agreed: PadOffer | None = None
        self._tags: Tags | None = None
        self._new = b""

    def open(self) -> PadOffer:
        """This end's offer."""
        state = self._pool.state()
        self._own, self.epsilon = state.offer, state.epsilon
        self.left_bits = PAD_BITS * (state.offer.end - state.offer.first)
        return self._own

    def agree(self, other: PadOffer) -> None:
        """Both ends come to the same from the two offers. RoundFailed when they have no unused pad in common."""
        way_out = f"run `qkd-lab link rekey {self._link}`"
        own = self._own
        if other.key_id != own.key_id:
            raise RoundFailed(f"the two ends of link {self._link} have different pre-shared keys: {way_out}")
        self._agreed = PadOffer(own.key_id, max(own.first, other.first), min(own.end, other.end))
        if self._agreed.first >= self._agreed.end:
            raise RoundFailed(
                f"the pad pool of link {self._link} is empty: pad {self._agreed.first} is next, "
                f"the two ends share {self._agreed.end}; {way_out}"
            )

    @property
    def agreed(self) -> PadOffer:
        """From the round's pad to the last that both ends have; after `agree`."""
        return self._agreed

    def plan_refill(self, secret_bits: int, pads_kept: int) -> int:
        """See `refill_of`."""
        return refill_of(self._agreed, secret_bits, pads_kept)

    def set_apart(self, secret: bytes, refill_bits: int) -> bytes:
        """Keeps the first `refill_bits` of the secret bits as new pads; returns the rest, the block's."""
        self._new = secret[: refill_bits // 8]
        return secret[refill_bits // 8 :]

    def tags(self, transcript: bytes) -> Tags:
        """Reserves the round's pad, durably, and uses it: both ends' tags over this end's finished transcript.

        Asked again they are the same: a round has one pad.
        """
        if self._tags:
            return self._tags
        epsilon = 2 * forgery_bound(len(transcript))
        pad = self._pool.reserve(self._agreed, epsilon)
        self.used_bits += PAD_BITS
        self.epsilon += epsilon
        self.left_bits = PAD_BITS * (self._own.end - self._agreed.first - 1)
        self._tags = Tags(bob=tag(pad[:SECRET_BYTES], transcript), alice=tag(pad[SECRET_BYTES:], transcript))
        return self._tags

    def refill(self) -> None:
        """Puts the new pads into the pool, durably: the other end's tag was good."""
        self._pool.refill(self._agreed, self._new)
        self.refill_bits = 8 * len(self._new)
        self.left_bits = PAD_BITS * (self._agreed.end - self._agreed.first - 1) + self.refill_bits

    def forget(self) -> None:
        """The round is over without a key: its bits are destroyed."""
        self._tags, self._new = None, b""
