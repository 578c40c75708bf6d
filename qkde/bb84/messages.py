"""The messages between Bob and Alice, and their one encoding: a MessagePack array, the name first, then the fields in
order.

Bits travel packed. The encoding is canonical (`encode(decode(data)) == data`), so that both ends can hash what they
understood and know that they hashed what was sent.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass, field, fields
from typing import Any
from uuid import UUID

import msgpack

from qkde.bb84.errors import InvalidParameter, MalformedMessage
from qkde.bb84.pads import PadOffer
from qkde.bb84.parameters import RoundParameters


@dataclass(frozen=True)
class StartRound:
    """Bob's order for a round: its id (a UUID, also the block's), the link, the KME that will own the block.

    `pads`: what he has left to tag with; an order has none yet, Bob puts them in.
    """

    block_id: str
    link: str
    owner: str
    parameters: RoundParameters
    pads: PadOffer = PadOffer("none", 0, 0)


@dataclass(frozen=True)
class RoundStarted:
    block_id: str
    pads: PadOffer


@dataclass(frozen=True)
class PrepareFrame:
    frame: int


@dataclass(frozen=True)
class FramePrepared:
    frame: int


@dataclass(frozen=True)
class AnnounceDetections:
    """Bob speaks first: the click mask of all pulses, and his bases of those that clicked."""

    frame: int
    clicks: bytes
    bases: bytes


@dataclass(frozen=True)
class AnnounceMatches:
    """1 for each detected pulse that Alice prepared in Bob's basis, and the intensities of all that were detected (see
    `intensities.pack_choices`; empty for single photons). Both become known only once the frame is closed.
    """

    frame: int
    matches: bytes
    intensities: bytes = b""


@dataclass(frozen=True)
class DiscloseSample:
    """Bob's bits of the test basis, all of them."""

    bits: bytes


@dataclass(frozen=True)
class SampleDisclosed:
    """Alice's bits of the test basis."""

    bits: bytes


@dataclass(frozen=True)
class StartPass:
    """A Cascade pass over the frame, or (half_frame, one block) over a random half of it."""

    pass_index: int
    block_count: int
    half_frame: bool
    seed: bytes


@dataclass(frozen=True)
class AskParities:
    """Node numbers of an open pass (see `parity_tree`), 4 bytes each, little endian."""

    pass_index: int
    nodes: bytes


@dataclass(frozen=True)
class Parities:
    bits: bytes


@dataclass(frozen=True)
class RequestVerification:
    """Bob's string is fixed now. `corrected_counts`: how many bits he corrected, by intensity; one for single photons.

    The one-decoy proof needs these counts, the others have them for their reports. They are a function of the error
    pattern A⊕B, which the default accounting of two-way reconciliation (`leak_counted` alice, see `finite_key`) hands
    to Eve anyway: they cost nothing more. With `leak_counted` both, where nothing is argued, their bits are counted.
    """

    corrected_counts: tuple[int, ...]


@dataclass(frozen=True)
class Verification:
    seed: bytes
    hash: bytes


@dataclass(frozen=True)
class Amplify:
    """Bob's hash is the same."""


@dataclass(frozen=True)
class Amplification:
    """`length_bits` secret bits; the first `refill_bits` of them become pads, the rest is the block."""

    length_bits: int
    refill_bits: int
    seed: bytes = field(repr=False)


@dataclass(frozen=True)
class Finish:
    """Bob has kept the block; his tag over the transcript so far, under the round's pad."""

    transcript_digest: bytes
    tag: bytes


@dataclass(frozen=True)
class Finished:
    """Alice has kept the block; her tag over the same transcript."""

    transcript_digest: bytes
    tag: bytes


@dataclass(frozen=True)
class AbortRound:
    """Bob ends the round. The digest lets Alice say whether the two ends had seen the same messages."""

    reason: str
    transcript_digest: bytes


@dataclass(frozen=True)
class AbortNoted:
    transcript_digest: bytes


@dataclass(frozen=True)
class Refused:
    """Alice's answer to anything that ends the round on her side."""

    reason: str
    transcript_digest: bytes


_KINDS = (
    StartRound, RoundStarted, PrepareFrame, FramePrepared, AnnounceDetections, AnnounceMatches, DiscloseSample,
    SampleDisclosed, StartPass, AskParities, Parities, RequestVerification, Verification, Amplify, Amplification,
    Finish, Finished, AbortRound, AbortNoted, Refused,
)  # fmt: skip
Message = (
    StartRound | RoundStarted | PrepareFrame | FramePrepared | AnnounceDetections | AnnounceMatches
    | DiscloseSample | SampleDisclosed | StartPass | AskParities | Parities | RequestVerification | Verification
    | Amplify | Amplification | Finish | Finished | AbortRound | AbortNoted | Refused
)  # fmt: skip
MESSAGE_KINDS: dict[str, type] = {kind.__name__: kind for kind in _KINDS}
_NESTED = (RoundParameters, PadOffer)
_MAX_TEXT = 500


def encode(message: Message) -> bytes:
    """One message as bytes."""
    values = [getattr(message, item.name) for item in fields(message)]
    plain = [list(astuple(value)) if isinstance(value, _NESTED) else value for value in values]  # a tuple as a list
    return msgpack.packb([type(message).__name__, *plain], use_bin_type=True)


def decode(data: bytes) -> Message:
    """The message that `data` encodes; MalformedMessage for anything that is not exactly one, canonically encoded."""
    try:
        name, *values = msgpack.unpackb(data, raw=False)
        kind = MESSAGE_KINDS[name]
        message = kind(*(_checked(item, value) for item, value in zip(fields(kind), values, strict=True)))
    except MalformedMessage:
        raise
    except InvalidParameter as error:
        raise MalformedMessage(str(error)) from None
    except Exception:  # whatever a hostile byte string makes of the decoder; its text may quote the content
        raise MalformedMessage("not a message of this protocol") from None
    if encode(message) != data:
        raise MalformedMessage("a message in another than the canonical encoding")
    return message


def _checked(item: Any, value: Any) -> Any:
    if item.type in _NESTED:
        return item.type(*(tuple(part) if type(part) is list else part for part in value))
    if item.type == tuple[int, ...]:
        if type(value) is not list or not value or not all(type(part) is int and _RULES[int](part) for part in value):
            raise MalformedMessage(f"{item.name} must be integers from 0 to 2^32 − 1")
        return tuple(value)
    if type(value) is not item.type or not _RULES[item.type](value):
        raise MalformedMessage(f"{item.name} must be {_EXPECTED[item.type]}")
    if item.name == "block_id" and str(UUID(value)) != value:
        raise MalformedMessage("block_id must be a UUID in lower case")
    return value


_RULES: dict[type, Callable[[Any], bool]] = {
    int: lambda value: 0 <= value < 2**32,
    bool: lambda value: True,
    bytes: lambda value: True,
    str: lambda value: 0 < len(value) <= _MAX_TEXT,
}
_EXPECTED = {
    int: "an integer from 0 to 2^32 − 1",
    bool: "true or false",
    bytes: "bytes",
    str: f"a text of 1 to {_MAX_TEXT} characters",
}
