"""Sifting in efficient BB84 (Lo, Chau, Ardehali 2005): the bases are biased and have different tasks.

Detected pulses that both ends had in the key basis give key; those that both had in the test basis are all disclosed
and are the sample that bounds the phase errors; the rest is dropped.
"""

from dataclasses import dataclass, field, fields

import numpy as np

from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS


@dataclass(frozen=True)
class SiftedBits:
    """One end's sifted bits of one frame or of all, and the intensities of their pulses (0: single photons), uint8."""

    key: np.ndarray = field(repr=False)
    sample: np.ndarray = field(repr=False)
    key_choices: np.ndarray = field(repr=False)
    sample_choices: np.ndarray = field(repr=False)


def sift(bits: np.ndarray, bases: np.ndarray, matches: np.ndarray, choices: np.ndarray | None = None) -> SiftedBits:
    """Sort one end's detected pulses; arrays of one length: its bits, its bases, 1 where both bases were the same, the
    pulses' intensities.
    """
    matches = matches.astype(bool)
    key, sample = matches & (bases == KEY_BASIS), matches & (bases == TEST_BASIS)
    if choices is None:
        choices = np.zeros(len(bits), np.uint8)
    return SiftedBits(bits[key], bits[sample], choices[key], choices[sample])


def join(frames: list[SiftedBits]) -> SiftedBits:
    """All frames of a round, in order."""
    return SiftedBits(
        *(np.concatenate([getattr(frame, part.name) for frame in frames]) for part in fields(SiftedBits))
    )
