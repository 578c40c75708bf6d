"""What a round needs from outside, as arguments: devices, channel, randomness, time, storage."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from qkde.bb84.messages import Message
    from qkde.bb84.report import Block


class QuantumSource(Protocol):
    """Alice's side of the quantum link."""

    def prepare(self, frame: int, bits: np.ndarray, bases: np.ndarray) -> None:
        """Send a frame of pulses; uint8 arrays of equal length. Repeatable with the same arguments."""

    def close(self, frame: int) -> bool:
        """True when the frame has been measured and is now wiped; False when it has not been measured yet."""


class Detector(Protocol):
    """Bob's side of the quantum link."""

    def measure(self, frame: int, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clicks (bool) and outcomes (uint8, meaningless without a click) of every pulse of the frame."""


class Channel(Protocol):
    """Bob's classical channel to Alice."""

    def ask(self, message: "Message") -> "Message":
        """Her answer. Repeats an identical message by itself if it must; PeerUnreachable when it gives up."""


class Authenticator(Protocol):
    """Tags over a whole transcript. `sender` ("alice" or "bob") enters the tag, so that none can be reflected."""

    def tag(self, sender: str, transcript: bytes) -> bytes: ...

    def verify(self, sender: str, transcript: bytes, tag: bytes) -> bool: ...


class Randomness(Protocol):
    """Uniform bits and biased bases, as uint8 arrays."""

    def bits(self, count: int) -> np.ndarray: ...

    def bases(self, count: int, key_basis_probability: float) -> np.ndarray: ...


Clock = Callable[[], float]
"""Seconds on any monotonic scale."""

Keep = Callable[["Block"], None]
"""Persist a block before the last tag goes out. It may be handed on only once the round's report says `key`;
when it says `aborted`, the block must be destroyed."""
