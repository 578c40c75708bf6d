"""Sifting in efficient BB84 (Lo, Chau, Ardehali 2005): the bases are biased and have different tasks.

Detected pulses that both ends had in the key basis give key; those that both had in the test basis are all disclosed
and are the sample that bounds the phase errors; the rest is dropped.
"""

from dataclasses import dataclass, field

import numpy as np

from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS


@dataclass(frozen=True)
class SiftedBits:
    """One end's sifted bits of one frame or of all, uint8."""

    key: np.ndarray = field(repr=False)
    sample: np.ndarray = field(repr=False)


def sift(bits: np.ndarray, bases: np.ndarray, matches: np.ndarray) -> SiftedBits:
    """Sort one end's detected pulses; arrays of one length: its bits, its bases, 1 where both bases were the same."""
    matches = matches.astype(bool)
    return SiftedBits(key=bits[matches & (bases == KEY_BASIS)], sample=bits[matches & (bases == TEST_BASIS)])


def join(frames: list[SiftedBits]) -> SiftedBits:
    """All frames of a round, in order."""
    return SiftedBits(
        key=np.concatenate([frame.key for frame in frames]),
        sample=np.concatenate([frame.sample for frame in frames]),
    )
