"""In which order a Cascade pass takes the bits of the frame; both ends derive it from the pass's public seed.

`arranged(bits)` gives the bits in that order, `positions(places)` where in the frame the bits at places of the pass
are, and `places(positions)` the way back.
"""

from collections.abc import Callable
from hashlib import shake_128

import numpy as np

_CHUNK = 1 << 17  # numbers worked on at a time, so that they stay in the processor's cache


class FrameOrder:
    """The bits stay where they are."""

    def arranged(self, bits: np.ndarray) -> np.ndarray:
        return bits

    def positions(self, places: np.ndarray) -> np.ndarray:
        return places

    def places(self, positions: np.ndarray) -> np.ndarray:
        return positions


class ShuffledOrder:
    """A permutation of range(size), computed where it is needed, in both directions, and never stored.

    Odd multiplications and xor-shifts modulo a power of two, as in the finaliser of MurmurHash3, with constants from
    SHAKE-128: a bijection without memory traffic, the same in every language and NumPy version. What comes out beyond
    the end goes in again until it is below (cycle walking, Black and Rogaway 2002). In trials f and the share of frames
    left wrong before the half-frame passes were those of a Fisher–Yates shuffle.
    """

    def __init__(self, size: int, seed: bytes) -> None:
        width = max(1, (size - 1).bit_length())
        self._size = size
        self._mask, self._shift = np.uint32((1 << width) - 1), np.uint32((width + 1) // 2)
        self._offset, *factors = np.frombuffer(shake_128(b"order" + seed).digest(16), "<u4")
        self._factors = [factor | np.uint32(1) for factor in factors]
        self._inverses = [np.uint32(pow(int(factor), -1, 1 << 32)) for factor in reversed(self._factors)]

    def arranged(self, bits: np.ndarray) -> np.ndarray:
        arranged = np.empty_like(bits)
        for begin in range(0, self._size, _CHUNK):  # below, "clip" only saves a check: nothing is beyond the end
            places = np.arange(begin, min(begin + _CHUNK, self._size), dtype=np.uint32)
            arranged[begin : begin + _CHUNK] = bits.take(self._walk(places, self._forward), mode="clip")
        return arranged

    def positions(self, places: np.ndarray) -> np.ndarray:
        return self._walk(places.astype(np.uint32), self._forward).astype(np.int64)

    def places(self, positions: np.ndarray) -> np.ndarray:
        return self._walk(positions.astype(np.uint32), self._backward).astype(np.int64)

    def _forward(self, numbers: np.ndarray) -> np.ndarray:
        numbers = numbers + self._offset
        for factor in self._factors:
            numbers *= factor
            numbers &= self._mask
            numbers ^= numbers >> self._shift
        return numbers

    def _backward(self, numbers: np.ndarray) -> np.ndarray:
        for inverse in self._inverses:
            numbers = numbers ^ (numbers >> self._shift)  # its own inverse: the shift is half of the width or more
            numbers *= inverse
            numbers &= self._mask
        numbers -= self._offset
        numbers &= self._mask
        return numbers

    def _walk(self, numbers: np.ndarray, step: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        numbers = step(numbers)
        beyond = np.flatnonzero(numbers >= self._size)
        while len(beyond):
            numbers[beyond] = again = step(numbers[beyond])
            beyond = beyond[again >= self._size]
        return numbers


class HalfFrame:
    """The bits of a random half of the frame, in the frame's order: each is in it with probability 1/2."""

    def __init__(self, size: int, seed: bytes) -> None:
        self._size = size
        self._mask = np.frombuffer(shake_128(b"half" + seed).digest(-(-size // 8)), np.uint8)

    @property
    def members(self) -> np.ndarray:
        """Positions of the half's bits in the frame, ascending."""
        return np.flatnonzero(np.unpackbits(self._mask, count=self._size).view(bool))

    def parity(self, bits: np.ndarray) -> int:
        """Parity of the half of `bits`, without taking it out of the frame."""
        return int(np.bitwise_xor.reduce(np.packbits(bits) & self._mask)).bit_count() & 1
