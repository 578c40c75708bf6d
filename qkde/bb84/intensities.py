"""Intensities of weak coherent pulses: which one each pulse has, drawn, packed and unpacked.

An intensity is named by its index in `RoundParameters.intensities`. Single photons are pulses of one unnamed intensity,
so that both kinds of source are counted alike; their index takes no bit on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qkde.bb84.bits import pack, unpack
from qkde.bb84.errors import MalformedMessage
from qkde.bb84.ports import Randomness


@dataclass(frozen=True)
class PulseIntensities:
    """What Alice's laser is told: mean photon numbers, and for every pulse the index of its own (uint8)."""

    means: tuple[float, ...]
    choices: np.ndarray = field(repr=False)


def draw(count: int, probabilities: tuple[float, ...], randomness: Randomness) -> np.ndarray:
    """Indices of intensities, uint8, each to 2⁻³²: one of two with a probability, then one of the rest, and so on."""
    choices, left = np.zeros(count, np.uint8), 1.0
    for index, probability in enumerate(probabilities[:-1]):
        # `bases` is a biased coin: 0 with the given probability.
        goes_on = randomness.bases(count, min(1.0, probability / left))
        choices += goes_on & (choices == index)
        left -= probability
    return choices


def plane_count(intensity_count: int) -> int:
    """How many bits an index takes."""
    return max(0, intensity_count - 1).bit_length()


def pack_choices(choices: np.ndarray, intensity_count: int) -> bytes:
    """Bit planes of the indices, the lowest bit's first, each packed; nothing where there is one intensity or none."""
    return b"".join(pack(choices >> bit & 1) for bit in range(plane_count(intensity_count)))


def unpack_choices(octets: bytes, count: int, intensity_count: int) -> np.ndarray:
    """The indices, uint8. Raises MalformedMessage for another length, or an index of no intensity."""
    planes, size = plane_count(intensity_count), -(-count // 8)
    if len(octets) != planes * size:
        raise MalformedMessage(f"intensities of {count} pulses have {planes * size} bytes, not {len(octets)}")
    choices = np.zeros(count, np.uint8)
    for bit in range(planes):
        choices |= unpack(octets[bit * size : (bit + 1) * size], count) << bit
    if count and choices.max() >= max(1, intensity_count):
        raise MalformedMessage(f"a pulse has intensity number {choices.max()} of {intensity_count}")
    return choices


def counts_of(choices: np.ndarray, intensity_count: int) -> tuple[int, ...]:
    """How many pulses of each intensity; one number for single photons."""
    return tuple(np.bincount(choices, minlength=max(1, intensity_count)).tolist())
