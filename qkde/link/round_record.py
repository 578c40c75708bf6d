"""What a quantum link remembers of a round: when it was, its physics, and sums. Never a bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from qkde.bb84.randomness import KEY_BASIS
from qkde.link.aer import ANGLES_DEGREES
from qkde.link.channel import Transmission
from qkde.link.eve_record import EveRecord
from qkde.link.physics import LinkPhysics
from qkde.link.tap import Bits


@dataclass(frozen=True)
class RoundRecord:
    """The frames of a round that were measured so far.

    `began_at_s`: Unix time of its first preparation. `eve` is ground truth for the operator alone: neither end may
    learn of it.
    """

    round_id: UUID
    began_at_s: float
    physics: LinkPhysics
    frame_count: int = 0
    pulse_count: int = 0
    detected_count: int = 0
    eve: EveRecord = field(default_factory=EveRecord)

    @property
    def simulated_s(self) -> float:
        """How long Alice's source takes to send so many pulses."""
        return self.pulse_count / self.physics.repetition_rate_hz

    def with_frame(self, pulse_count: int, detected_count: int, eve: EveRecord) -> RoundRecord:
        """A copy that has one more frame in its sums."""
        return replace(
            self,
            frame_count=self.frame_count + 1,
            pulse_count=self.pulse_count + pulse_count,
            detected_count=self.detected_count + detected_count,
            eve=self.eve + eve,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, as docs/protocols.md has them."""
        return {
            "round_id": str(self.round_id),
            "began_at": datetime.fromtimestamp(self.began_at_s, UTC).isoformat(timespec="milliseconds"),
            "physics": self.physics.settings(),
            "frames": self.frame_count,
            "pulses": self.pulse_count,
            "detected_pulses": self.detected_count,
            "simulated_s": self.simulated_s,
            "ground_truth": asdict(self.eve),
        }


def heard(bits: Bits, bases: Bits, measured_bases: Bits, sent: Transmission) -> EveRecord:
    """What Eve knows of a frame's key bits: those that both ends have in the key basis, with a click.

    Only nature can tell at this time, with Alice's preparation and Bob's bases in its hands. Raises
    qkde.link.aer.SimulationFailed.
    """
    is_key = (sent.clicks == 1) & (bases == KEY_BASIS) & (measured_bases == KEY_BASIS)
    record = EveRecord()
    record.hear(sent.knowledge, bits, KEY_BASIS, ANGLES_DEGREES, np.flatnonzero(is_key))
    return record
