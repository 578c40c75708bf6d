"""Verification: do both ends hold the same string? A universal hash under a fresh public seed.

The string, cut into words of t−1 bits w_1 … w_L, is the polynomial Σ w_i·r^(L−i+1) over the field of 2^t − 1 elements
(a Mersenne prime), taken at a random point r. Two different strings of equal length agree at no more than L points,
one of which is 0, which t bits spell twice: the hash of unequal strings is equal with probability at most (L + 1)/2^t
over r (Carter and Wegman 1979, den Boer 1993). r must be drawn after Bob's string is fixed. The t bits of the hash are
disclosed.

A row of words is a linear function of its bytes, so that many rows are one product of matrices: exact in float64, whose
sums stay below 2^53, and several times as fast as word after word. Rows follow one another as words do, with a power of
r between them.
"""

from functools import lru_cache

import numpy as np

VERIFICATION_BITS = (61, 89, 107, 127)  # exponents of Mersenne primes
_ROW_WORDS = 256  # a multiple of 8, so that rows begin at bytes; of more, sums of products could reach 2^53
_ROWS_AT_A_TIME = 32


def collision_bound(bit_count: int, verification_bits: int) -> float:
    """Upper bound on the probability that two different strings of `bit_count` bits pass."""
    return (word_count(bit_count, verification_bits) + 1) / 2**verification_bits


def universal_hash(packed: bytes, bit_count: int, seed: bytes, verification_bits: int) -> bytes:
    """Hash `bit_count` packed bits at the point that the first `verification_bits` bits of `seed` spell."""
    prime = 2**verification_bits - 1
    point = int.from_bytes(seed, "big") >> (8 * len(seed) - verification_bits)
    row_bytes = _ROW_WORDS * (verification_bits - 1) // 8
    in_rows = len(packed) // row_bytes * row_bytes
    value, step = 0, pow(point, _ROW_WORDS, prime)
    for row in _rows(memoryview(packed)[:in_rows], point, verification_bits):
        value = (value * step + row) % prime
    for word in _words(packed[in_rows:], bit_count - 8 * in_rows, verification_bits - 1):
        value = (value + word) * point % prime
    return value.to_bytes(seed_bytes(verification_bits), "big")


def seed_bytes(verification_bits: int) -> int:
    """Length in bytes of a seed, and of a hash."""
    return -(-verification_bits // 8)


def word_count(bit_count: int, verification_bits: int) -> int:
    """L: words of t − 1 bits that hold `bit_count` bits."""
    return max(1, -(-bit_count // (verification_bits - 1)))


def _words(packed: bytes, bit_count: int, word_bits: int):
    """Words in order, the last one filled with zeros. Eight words at a time: they end on a byte boundary."""
    group_bytes, mask = word_bits, (1 << word_bits) - 1
    for begin in range(0, len(packed), group_bytes):
        group = int.from_bytes(packed[begin : begin + group_bytes].ljust(group_bytes, b"\0"), "big")
        left = min(8, -(-(bit_count - 8 * begin) // word_bits))
        for i in range(left):
            yield (group >> (word_bits * (7 - i))) & mask


def _rows(packed: memoryview, point: int, verification_bits: int):
    """Σ w_i·r^(n−i+1) of each row of n words, not reduced."""
    if not packed:
        return
    prime = 2**verification_bits - 1
    places, masks, words, shifts = _layout(verification_bits)
    powers = [pow(point, _ROW_WORDS - word, prime) for word in range(_ROW_WORDS)]
    factors = [(powers[word] << shift) % prime for word, shift in zip(words, shifts, strict=True)]
    limbs = np.frombuffer(b"".join(factor.to_bytes(16, "little") for factor in factors), "<u4").reshape(-1, 4)
    factor_limbs = limbs.astype(np.float64)
    rows = np.frombuffer(packed, np.uint8).reshape(-1, _ROW_WORDS * (verification_bits - 1) // 8)
    for begin in range(0, len(rows), _ROWS_AT_A_TIME):
        parts = rows[begin : begin + _ROWS_AT_A_TIME].take(places, axis=1) & masks
        for sums in (parts.astype(np.float64) @ factor_limbs).tolist():
            yield sum(int(limb) << (32 * place) for place, limb in enumerate(sums))


@lru_cache(maxsize=len(VERIFICATION_BITS))
def _layout(verification_bits: int) -> tuple[np.ndarray, np.ndarray, list[int], list[int]]:
    """The parts of a row that belong to one word and one byte: the byte's place, the part's bits in it, the word, and
    the power of two that the byte counts in its word (modulo t, as 2^t is 1 in the field).
    """
    word_bits = verification_bits - 1
    parts = []
    for word in range(_ROW_WORDS):
        begin, end = word * word_bits, (word + 1) * word_bits
        for place in range(begin // 8, -(-end // 8)):
            first, last = max(begin - 8 * place, 0), min(end - 8 * place, 8)
            mask = (0xFF >> first) & (0xFF << (8 - last))
            parts.append((place, mask, word, (end - 8 * place - 8) % verification_bits))
    places, masks, words, shifts = map(list, zip(*parts, strict=True))
    return np.array(places), np.array(masks, np.uint8), words, shifts
