"""The quantum link: the one place where pulses exist, and where their frames are kept until they are closed.

What is left of a round is its record: when, under which physics, sums, and what Eve got, for the operator alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from threading import Event, Lock
from typing import Any
from uuid import UUID

import numpy as np

from qkde.link.channel import Transmission, transmit
from qkde.link.eve_record import EveRecord
from qkde.link.frames import MAX_PULSES, Frame, FrameError, FrameNotFound
from qkde.link.physics import LinkPhysics
from qkde.link.round_record import RoundRecord, heard
from qkde.link.source import poisson
from qkde.link.tap import Bits

FRAME_TTL_S = 120.0
# What may be open at a time: a few frames of the largest size, or many small ones whose Bob has gone.
MAX_OPEN_FRAMES = 256
MAX_OPEN_PULSES = 8 * MAX_PULSES
# Finished frames are remembered without their bits, so that a late repeat cannot prepare and measure the same bits once
# more, in other bases: two such answers together would tell them all. Their rounds' records live as long.
MAX_ROUNDS = 1024


class LinkFull(FrameError):
    """Too many frames are open."""


class RoundNotFound(FrameError):
    """No frame of such a round was prepared, or it is forgotten."""


@dataclass
class Round:
    """Frames under one set of parameters: those that held when the first of them was prepared."""

    record: RoundRecord
    frames: dict[int, Frame] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return any(frame.is_open for frame in self.frames.values())


@dataclass(frozen=True)
class Measured:
    """What was measured on a link since it started; `busy_s` is the time that took."""

    frame_count: int = 0
    pulse_count: int = 0
    busy_s: float = 0.0

    @property
    def pulses_per_second(self) -> float | None:
        """None before the first measurement."""
        return self.pulse_count / self.busy_s if self.busy_s > 0 else None


class QuantumLink:
    """A link between one Alice and one Bob. Safe to share between threads.

    `seed`: only for reproducible runs; without one, nature is seeded by the operating system, anew for every frame.
    `clock` measures times; `unix_clock` says when rounds began.
    """

    def __init__(
        self,
        name: str,
        physics: LinkPhysics,
        *,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._physics = physics
        self._seed = seed
        self._clock = clock
        self._unix_clock = unix_clock
        self._rounds: dict[UUID, Round] = {}
        self._measured = Measured()
        # Nobody waits for a frame while holding this: a frame is busy for as long as Aer runs it.
        self._lock = Lock()

    @property
    def physics(self) -> LinkPhysics:
        """What the next round will meet."""
        return self._physics

    @property
    def measured(self) -> Measured:
        return self._measured

    def change_physics(self, /, **settings: Any) -> LinkPhysics:
        """Takes effect with the next round. Raises ImpossiblePhysics, and then nothing changes."""
        with self._lock:
            self._physics = self._physics.changed(**settings)
            return self._physics

    def prepare(
        self, round_id: UUID, number: int, pulse_count: int, body: bytes, intensities: tuple[float, ...] = ()
    ) -> None:
        """Alice's bits, then her bases, then which of the `intensities` each pulse has, where they are no single
        photons; each packed. Raises FrameInvalid, FrameConflict and LinkFull.
        """
        self.expire_frames()
        frame = Frame.of(pulse_count, body, self._clock(), intensities)
        with self._lock:
            round_ = self._rounds.get(round_id)
            known = round_.frames.get(number) if round_ else None
            if known is None:
                self._make_room(pulse_count)
                round_ = round_ or Round(RoundRecord(round_id, self._unix_clock(), self._physics))
                # It may have been the oldest one that was finished so far.
                self._rounds.setdefault(round_id, round_).frames[number] = frame
        if known is not None:
            known.expect_same(frame)

    def measure(self, round_id: UUID, number: int, body: bytes) -> bytes:
        """Bob's bases, packed -> click bits, then outcomes (0 where there was no click), each packed.

        Raises FrameNotFound, FrameInvalid, FrameConflict and qkde.link.aer.SimulationFailed.
        """
        self.expire_frames()
        physics, frame = self._find(round_id, number)
        nature = np.random.default_rng(None if self._seed is None else [self._seed, round_id.int, number])

        def counted(bits: Bits, bases: Bits, measured_bases: Bits, choices: np.ndarray | None) -> Transmission:
            started = self._clock()
            # From here on there are photons only: Eve may count them, but no intensity is left to be seen.
            photon_numbers = None if choices is None else poisson(frame.intensities, choices, nature)
            sent = transmit(bits, bases, measured_bases, physics, nature, photon_numbers)
            elapsed_s = self._clock() - started
            self._count(round_id, sent, elapsed_s, heard(bits, bases, measured_bases, sent))
            return sent

        return frame.measure(body, counted)

    def close(self, round_id: UUID, number: int) -> None:
        """Alice is about to speak of her bases: the frame is gone from here on. Raises FrameNotFound, FrameConflict."""
        self.expire_frames()
        self._find(round_id, number)[1].close()

    def rounds(self, count: int = MAX_ROUNDS) -> list[RoundRecord]:
        """The newest rounds, the newest first. Not for the ends of the link."""
        with self._lock:
            return [round_.record for round_ in islice(reversed(self._rounds.values()), count)]

    def round(self, round_id: UUID) -> RoundRecord:
        """Not for the ends of the link. Raises RoundNotFound."""
        with self._lock:
            if round_id not in self._rounds:
                raise RoundNotFound(f"round {round_id} is not known here")
            return self._rounds[round_id].record

    def expire_frames(self) -> None:
        """Wipes the frames that nobody closed in time."""
        oldest_s = self._clock() - FRAME_TTL_S
        with self._lock:
            for frame in self._open_frames():
                if frame.prepared_at_s <= oldest_s:
                    frame.expire()

    def keep_expiring(self, stop: Event, every_s: float = 10.0) -> None:
        """For a thread of its own: frames expire even where nobody calls any more."""
        while not stop.wait(every_s):
            self.expire_frames()

    def _find(self, round_id: UUID, number: int) -> tuple[LinkPhysics, Frame]:
        with self._lock:
            round_ = self._rounds.get(round_id)
            if round_ is None or number not in round_.frames:
                raise FrameNotFound(f"frame {number} of round {round_id} was not prepared")
            return round_.record.physics, round_.frames[number]

    def _open_frames(self) -> Iterator[Frame]:
        return (frame for round_ in self._rounds.values() for frame in round_.frames.values() if frame.is_open)

    def _make_room(self, pulse_count: int) -> None:
        open_counts = [frame.pulse_count for frame in self._open_frames()]
        if len(open_counts) >= MAX_OPEN_FRAMES or sum(open_counts) + pulse_count > MAX_OPEN_PULSES:
            raise LinkFull(f"{len(open_counts)} frames are open: close some, or wait {FRAME_TTL_S:.0f} s: they expire")
        # A dict keeps the order in which its rounds began: the oldest are forgotten first.
        finished = (round_id for round_id, round_ in self._rounds.items() if not round_.is_open)
        for round_id in list(islice(finished, max(0, len(self._rounds) - MAX_ROUNDS + 1))):
            del self._rounds[round_id]

    def _count(self, round_id: UUID, sent: Transmission, elapsed_s: float, eve: EveRecord) -> None:
        pulse_count = sent.clicks.size
        with self._lock:
            so_far, round_ = self._measured, self._rounds[round_id]
            self._measured = Measured(
                so_far.frame_count + 1, so_far.pulse_count + pulse_count, so_far.busy_s + elapsed_s
            )
            round_.record = round_.record.with_frame(pulse_count, int(np.count_nonzero(sent.clicks)), eve)
