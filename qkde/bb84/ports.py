"""What a round needs from outside, as arguments: devices, channel, randomness, time, storage."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from qkde.bb84.intensities import PulseIntensities
    from qkde.bb84.messages import Message
    from qkde.bb84.pads import PadOffer, PadState
    from qkde.bb84.report import Block


class QuantumSource(Protocol):
    """Alice's side of the quantum link."""

    def prepare(
        self, frame: int, bits: np.ndarray, bases: np.ndarray, intensities: "PulseIntensities | None" = None
    ) -> None:
        """Send a frame of pulses; uint8 arrays of equal length. Single photons, or laser pulses of the `intensities`.
        Repeatable with the same arguments.
        """

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


class PadPool(Protocol):
    """One end's one-time pads of one link, see `pads`. Every change is durable when the call returns."""

    def state(self) -> "PadState": ...

    def reserve(self, agreed: "PadOffer", epsilon: float) -> bytes:
        """The pad `agreed.first`, which is never given out again. RoundFailed when it is used, or not there."""

    def refill(self, agreed: "PadOffer", pads: bytes) -> None:
        """Puts `pads` at number `agreed.end`. Repeatable with the same arguments."""


class Randomness(Protocol):
    """Uniform bits and biased bases, as uint8 arrays."""

    def bits(self, count: int) -> np.ndarray: ...

    def bases(self, count: int, key_basis_probability: float) -> np.ndarray: ...


Clock = Callable[[], float]
"""Seconds on any monotonic scale."""

Keep = Callable[["Block"], None]
"""Persist a block before the last tag goes out. It may be handed on only once the round's report says `key`;
when it says `aborted`, the block must be destroyed."""
