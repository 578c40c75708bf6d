"""A frame: prepared by Alice, measured once by Bob, closed by Alice, then gone.

It goes PREPARED -> MEASURED -> CLOSED, or PREPARED -> EXPIRED when nobody measured it in time. Alice's preparation is
wiped as soon as it is measured, Bob's answer once the frame is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock

import numpy as np

from qkde.link.channel import Transmission
from qkde.link.tap import Bits

MAX_PULSES = 1 << 24
MAX_INTENSITIES, MAX_INTENSITY = 3, 10

Packed = np.ndarray  # bits packed most significant first, uint8
# Alice's bits and bases, Bob's bases, and the index of each pulse's intensity, None for single photons.
Transmit = Callable[[Bits, Bits, Bits, np.ndarray | None], Transmission]


class FrameError(Exception):
    """The link refuses what was asked of a frame."""


class FrameInvalid(FrameError):
    """What was sent cannot be a frame's."""


class FrameNotFound(FrameError):
    """No such frame was prepared."""


class FrameConflict(FrameError):
    """The frame is not in a state in which this may be done."""


class State(Enum):
    PREPARED = "prepared"
    MEASURED = "measured"
    CLOSED = "closed"
    EXPIRED = "expired"


def _nothing() -> Packed:
    return np.empty(0, np.uint8)


@dataclass
class Frame:
    """One frame, safe to share between threads. Its bits lie in memory of their own, so that they can be wiped."""

    pulse_count: int
    preparation: Packed = field(repr=False)
    prepared_at_s: float
    intensities: tuple[float, ...] = ()
    state: State = State.PREPARED
    measured_bases: Packed = field(repr=False, default_factory=_nothing)
    answer: Packed = field(repr=False, default_factory=_nothing)
    _lock: Lock = field(repr=False, default_factory=Lock)

    @classmethod
    def of(cls, pulse_count: int, body: bytes, now_s: float, intensities: tuple[float, ...] = ()) -> Frame:
        """A frame from `pulse_count` bits, then as many bases, each packed. Raises FrameInvalid.

        With `intensities` (mean photon numbers) the pulses are weak coherent ones, and bit planes of the index of each
        one's intensity follow, the lowest bit's first.
        """
        if not 1 <= pulse_count <= MAX_PULSES:
            raise FrameInvalid(f"pulses is {pulse_count}: expected 1 to {MAX_PULSES}")
        if len(intensities) > MAX_INTENSITIES or not all(0 <= mean <= MAX_INTENSITY for mean in intensities):
            raise FrameInvalid(
                f"intensities in the query: expected up to {MAX_INTENSITIES} mean photon numbers from 0 to "
                f"{MAX_INTENSITY}, with commas between"
            )
        what = "a preparation (bits, then bases" + (", then intensities)" if intensities else ")")
        preparation = _packed(what, body, 2 + _planes(intensities), pulse_count)
        if len(intensities) == MAX_INTENSITIES:
            low, high = np.split(preparation, 4)[2:]
            if (low & high).any():
                raise FrameInvalid(f"a pulse has intensity number 3 of {MAX_INTENSITIES}, counted from 0")
        return cls(pulse_count, preparation, now_s, intensities)

    @property
    def is_open(self) -> bool:
        return self.state in (State.PREPARED, State.MEASURED)

    def expect_same(self, again: Frame) -> None:
        """Alice prepares this frame again. Raises FrameConflict unless it is the same preparation, not yet measured."""
        with self._lock:
            if self.state is not State.PREPARED:
                raise FrameConflict(f"the frame is {self.state.value} already: prepare another one")
            same = (self.pulse_count, self.intensities) == (again.pulse_count, again.intensities)
            if not same or not np.array_equal(self.preparation, again.preparation):
                raise FrameConflict("the frame was prepared otherwise before: prepare another one")

    def measure(self, body: bytes, transmit: Transmit) -> bytes:
        """Bob's bases, packed -> click bits, then outcomes, each packed. Raises FrameInvalid and FrameConflict.

        The same bases again get the same answer, which is all there is left of the pulses.
        """
        bases = _packed("a measurement (bases)", body, 1, self.pulse_count)
        with self._lock:
            if not self.is_open:
                raise FrameConflict(f"the frame is {self.state.value}: it cannot be measured any more")
            if self.state is State.PREPARED:
                self._measure(bases, transmit)
            elif not np.array_equal(self.measured_bases, bases):
                raise FrameConflict("the frame was measured in other bases: a pulse is measured once")
            return self.answer.tobytes()

    def close(self) -> None:
        """From here on nobody measures. Raises FrameConflict for a frame that was not measured."""
        with self._lock:
            if self.state in (State.PREPARED, State.EXPIRED):
                raise FrameConflict(f"the frame is {self.state.value}, not measured")
            self._finish(State.CLOSED)

    def expire(self) -> None:
        """Its time is over, unless it is being measured just now. A measured frame counts as closed: it is spent."""
        if self._lock.acquire(blocking=False):
            try:
                self._finish(State.EXPIRED if self.state in (State.PREPARED, State.EXPIRED) else State.CLOSED)
            finally:
                self._lock.release()

    def _measure(self, bases: Packed, transmit: Transmit) -> None:
        strings = np.split(self.preparation, 2 + _planes(self.intensities))
        bits, sent_bases, *planes = (np.unpackbits(packed, count=self.pulse_count) for packed in strings)
        choices = np.zeros(self.pulse_count, np.uint8) if self.intensities else None
        for bit, plane in enumerate(planes):
            choices |= plane << bit
            plane.fill(0)
        try:
            sent = transmit(bits, sent_bases, np.unpackbits(bases, count=self.pulse_count), choices)
        finally:
            bits.fill(0)
            if choices is not None:
                choices.fill(0)
        self.measured_bases = bases
        self.answer = np.concatenate([np.packbits(sent.clicks), np.packbits(sent.outcomes)])
        self.preparation.fill(0)
        self.state = State.MEASURED

    def _finish(self, state: State) -> None:
        for bits in (self.preparation, self.measured_bases, self.answer):
            bits.fill(0)
        self.preparation = self.measured_bases = self.answer = _nothing()
        self.state = state


def _planes(intensities: tuple[float, ...]) -> int:
    """How many bits the index of an intensity takes (docs/protocols.md)."""
    return max(0, len(intensities) - 1).bit_length()


def _packed(what: str, body: bytes, strings: int, pulse_count: int) -> Packed:
    expected = strings * -(-pulse_count // 8)
    if len(body) != expected:
        raise FrameInvalid(f"{what} of {pulse_count} pulses has {expected} bytes: {len(body)} came")
    return np.frombuffer(body, np.uint8).copy()
