"""The parity blocks of one Cascade pass: how blocks of its bits halve down to single bits.

A pass cuts its sequence of `size` bits into `block_count` parity blocks of nearly equal length, and every block is
the root of a binary tree. The trees live over V = block_count·2^height ≥ size virtual leaves; leaf x begins at bit
⌊x·size/V⌋, so that blocks of any length halve evenly and a block of two bits or more never has an empty half.

A node with s leaves from leaf x on has the number 2x + s. s is the lowest set bit, so one number says all: its
halves are number ∓ s/2 and meet at leaf ⌊number/2⌋, its parent is (number ^ s) | 2s, and no two nodes of a pass share
a number.
"""

import numpy as np


class PassParities:
    """One end's parities in one pass: a single array of prefix parities, so that any interval costs two look-ups."""

    def __init__(self, sequence: np.ndarray, block_count: int) -> None:
        """`sequence`: the bits in the order of the pass, uint8; 1 ≤ block_count ≤ its length."""
        self.size, self.block_count = len(sequence), block_count
        self.height = (-(-self.size // block_count) - 1).bit_length()
        self.leaf_count = block_count << self.height
        self._prefix = prefix_parities(sequence)

    @property
    def blocks(self) -> np.ndarray:
        """The numbers of the blocks, in order."""
        return (2 * np.arange(self.block_count, dtype=np.int64) + 1) << self.height

    def intervals(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First bit and end (exclusive) of each node, as places in the pass."""
        leaves = nodes & -nodes
        return self.first_bits((nodes - leaves) >> 1), self.first_bits((nodes + leaves) >> 1)

    def first_bits(self, leaves: np.ndarray) -> np.ndarray:
        """The place in the pass where each leaf begins."""
        return leaves * self.size // self.leaf_count

    def leaf_nodes(self, places: np.ndarray) -> np.ndarray:
        """The number of the leaf that holds each bit of the pass."""
        return 2 * (((places + 1) * self.leaf_count - 1) // self.size) + 1

    def parities(self, nodes: np.ndarray) -> np.ndarray:
        begin, end = self.intervals(nodes)
        return self._prefix[begin] ^ self._prefix[end]

    def block_parities(self) -> np.ndarray:
        """Parities of all blocks, in order."""
        bounds = self._prefix[np.arange(self.block_count + 1) * self.size // self.block_count]
        return bounds[:-1] ^ bounds[1:]


def prefix_parities(bits: np.ndarray) -> np.ndarray:
    """Parities of the first 0, 1, … len(bits) bits, uint8: 64 bits at a time, faster than one after the other."""
    packed = np.packbits(bits, bitorder="little")
    words = np.zeros(len(bits) // 64 + 1, "<u8")
    words.view(np.uint8)[: len(packed)] = packed
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)  # now bit i is the parity of the word's bits 0 to i
    in_front = np.bitwise_xor.accumulate(words >> np.uint64(63))[:-1]  # parity of all words before each but the first
    words[1:] ^= np.uint64(0) - in_front
    prefix = np.empty(len(bits) + 1, np.uint8)
    prefix[0] = 0
    prefix[1:] = np.unpackbits(words.view(np.uint8), count=len(bits), bitorder="little")
    return prefix
