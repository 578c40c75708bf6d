"""Bob's two threshold detectors, after the light: dark counts, dead time, afterpulses, double clicks. All classical."""

from __future__ import annotations

import numpy as np

from qkde.link.physics import LinkPhysics

# What a pulse did to the pair, as bits: detector 0 fired, detector 1 fired.
NOTHING, BOTH = 0, 3


def read_out(fired: np.ndarray, physics: LinkPhysics, nature: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Clicks and outcomes (uint8, shape (n,)) of a frame of pulses whose light fired detectors 0 (bit 0) and 1 (bit 1).

    `fired` becomes the outcomes. A double click becomes a random bit, as the proofs want it (Lütkenhaus 1999).
    """
    if physics.dark_count_probability:
        # Y0 is of both detectors together; rare, so that it is drawn as a number and then places.
        each = 1 - (1 - physics.dark_count_probability) ** 0.5
        for detector in (0, 1):
            count = nature.binomial(fired.size, each)
            fired[nature.choice(fired.size, count, replace=False, shuffle=False)] |= 1 << detector
    if physics.dead_pulses or physics.afterpulse_probability:
        _with_memory(fired, physics.dead_pulses, physics.afterpulse_probability, nature)
    clicks = (fired != NOTHING).view(np.uint8)
    double = np.flatnonzero(fired == BOTH)
    outcomes = np.right_shift(fired, 1, out=fired)
    outcomes[double] = nature.integers(0, 2, double.size, dtype=np.uint8)
    return clicks, outcomes


def _with_memory(
    fired: np.ndarray, dead_pulses: int, afterpulse_probability: float, nature: np.random.Generator
) -> None:
    """Dead time and afterpulses, click by click. Both detectors are dead together: a pulse that met only one of two
    live detectors would tell Eve which.
    """
    events = np.flatnonzero(fired)
    positions, values = [*events.tolist(), fired.size], [*fired[events].tolist(), NOTHING]
    fired[:] = NOTHING
    index, live_from, afterpulse = 0, 0, NOTHING
    while True:
        while positions[index] < min(live_from, fired.size):
            index += 1
        position, value = positions[index], values[index]
        if afterpulse:
            value = afterpulse | (value if position == live_from else NOTHING)
            position = live_from
        if position >= fired.size:
            return
        fired[position] = value
        live_from = position + 1 + dead_pulses
        afterpulse = value if afterpulse_probability and nature.random() < afterpulse_probability else NOTHING
