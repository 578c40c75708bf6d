"""The parity blocks of one Cascade pass: how its bits are ordered, and how blocks halve down to single bits.

A pass cuts its sequence of `size` bits into `block_count` parity blocks of nearly equal length, and every block is
the root of a binary tree. The trees live over V = block_count·2^height ≥ size virtual leaves; leaf x begins at bit
⌊x·size/V⌋, so that blocks of any length halve evenly and a block of two bits or more never has an empty half.

A node with s leaves from leaf x on has the number 2x + s. s is the lowest set bit, so one number says all: its
halves are number ∓ s/2, its parent is (number ^ s) | 2s, and no two nodes of a pass share a number.
"""

from hashlib import shake_128

import numpy as np

_CHUNK = 1 << 16  # numbers worked on at a time, so that they stay in the processor's cache


class PassParities:
    """One end's parities in one pass: a single array of prefix parities, so that any interval costs two look-ups."""

    def __init__(self, sequence: np.ndarray, block_count: int) -> None:
        """`sequence`: the bits in the order of the pass, uint8; 1 ≤ block_count ≤ its length."""
        self.size = len(sequence)
        self.height = (-(-self.size // block_count) - 1).bit_length()
        self.leaf_count = block_count << self.height
        self.blocks = (2 * np.arange(block_count, dtype=np.int64) + 1) << self.height
        self._prefix = np.zeros(self.size + 1, np.uint8)
        np.bitwise_xor.accumulate(sequence, out=self._prefix[1:])

    def intervals(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First bit and end (exclusive) of each node, as places in the pass."""
        leaves = nodes & -nodes
        first = (nodes - leaves) >> 1
        return first * self.size // self.leaf_count, (first + leaves) * self.size // self.leaf_count

    def leaf_nodes(self, places: np.ndarray) -> np.ndarray:
        """The number of the leaf that holds each bit of the pass."""
        return 2 * (((places + 1) * self.leaf_count - 1) // self.size) + 1

    def parities(self, nodes: np.ndarray) -> np.ndarray:
        begin, end = self.intervals(nodes)
        return self._prefix[begin] ^ self._prefix[end]


def shuffled_order(size: int, seed: bytes) -> np.ndarray:
    """A permutation of range(size) that both ends derive from a public seed of a pass.

    Odd multiplications and xor-shifts modulo a power of two, as in the finaliser of MurmurHash3, with constants from
    SHAKE-128: a bijection without memory traffic, twice as fast as a Fisher–Yates shuffle, and the same in every
    language and NumPy version. Numbers ≥ size are dropped.
    """
    width = max(1, (size - 1).bit_length())
    mask, shift = np.uint32((1 << width) - 1), np.uint32((width + 1) // 2)
    offset, *factors = np.frombuffer(shake_128(b"order" + seed).digest(16), "<u4")
    counter = np.arange(min(_CHUNK, 1 << width), dtype=np.uint32) + offset
    numbers, shifted = np.empty_like(counter), np.empty_like(counter)
    order, filled = np.empty(size, np.int64), 0
    for begin in range(0, 1 << width, _CHUNK):
        np.add(counter, np.uint32(begin), out=numbers)
        for factor in factors:
            np.multiply(numbers, factor | np.uint32(1), out=numbers)
            np.bitwise_and(numbers, mask, out=numbers)
            np.right_shift(numbers, shift, out=shifted)
            np.bitwise_xor(numbers, shifted, out=numbers)
        kept = numbers[numbers < size]
        order[filled : filled + len(kept)] = kept
        filled += len(kept)
    return order


def half_frame_mask(size: int, seed: bytes) -> np.ndarray:
    """A random half of the frame, uint8: each bit is in it (1) with probability 1/2, by SHAKE-128 of a public seed."""
    packed = shake_128(b"half" + seed).digest(-(-size // 8))
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=size)


def masked_parity(bits: np.ndarray, mask: np.ndarray) -> int:
    return int(np.count_nonzero(bits & mask)) & 1
