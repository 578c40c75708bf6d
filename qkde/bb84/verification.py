"""Verification: do both ends hold the same string? A universal hash under a fresh public seed.

The string, cut into words of t−1 bits w_1 … w_L, is the polynomial Σ w_i·r^(L−i+1) over the field of 2^t − 1 elements
(a Mersenne prime), taken at a random point r. Two different strings of equal length agree at no more than L points,
one of which is 0, which t bits spell twice: the hash of unequal strings is equal with probability at most (L + 1)/2^t
over r (Carter and Wegman 1979, den Boer 1993). r must be drawn after Bob's string is fixed. The t bits of the hash are
disclosed.
"""

VERIFICATION_BITS = (61, 89, 107, 127)  # exponents of Mersenne primes


def collision_bound(bit_count: int, verification_bits: int) -> float:
    """Upper bound on the probability that two different strings of `bit_count` bits pass."""
    return (word_count(bit_count, verification_bits) + 1) / 2**verification_bits


def universal_hash(packed: bytes, bit_count: int, seed: bytes, verification_bits: int) -> bytes:
    """Hash `bit_count` packed bits at the point that the first `verification_bits` bits of `seed` spell."""
    prime = 2**verification_bits - 1
    point = int.from_bytes(seed, "big") >> (8 * len(seed) - verification_bits)
    value = 0
    for word in _words(packed, bit_count, verification_bits - 1):
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
