"""Where random bits come from: the operating system, or a seed in the explicit reproducible mode."""

import os
from collections.abc import Callable

import numpy as np

KEY_BASIS = 0  # Z, rectilinear
TEST_BASIS = 1  # X, diagonal


class _Randomness:
    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def bits(self, count: int) -> np.ndarray:
        """`count` uniform bits, uint8."""
        packed = np.frombuffer(self._random_bytes(-(-count // 8)), np.uint8)
        return np.unpackbits(packed, count=count)

    def bases(self, count: int, key_basis_probability: float) -> np.ndarray:
        """`count` bases, uint8: the key basis with the given probability, to 2⁻³²."""
        draws = np.frombuffer(self._random_bytes(4 * count), "<u4")
        return (draws >= round(key_basis_probability * 2**32)).astype(np.uint8)


class OsRandomness(_Randomness):
    """`os.urandom`: what every key, basis and public seed of a real round is drawn from."""

    def __init__(self) -> None:
        super().__init__(os.urandom)

    def bases(self, count: int, key_basis_probability: float) -> np.ndarray:
        """As above, in a third of the time: of each number the lower 24 bits are drawn only where they matter."""
        high, low = divmod(round(key_basis_probability * 2**32), 2**24)
        draws = np.frombuffer(os.urandom(count), np.uint8)
        bases = (draws > high).view(np.uint8)
        undecided = np.flatnonzero(draws == high)
        bases[undecided] = np.frombuffer(os.urandom(4 * len(undecided)), "<u4") >> np.uint32(8) >= low
        return bases


class SeededRandomness(_Randomness):
    """The same numbers at every run, for reproducible experiments only: its keys are worth nothing.

    Give Alice and Bob different seeds, or they choose the same bases.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.default_rng(seed).bytes)
