import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkde.bb84 import amplification
from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.bits import pack
from qkde.bb84.errors import RoundFailed
from qkde.bb84.verification import VERIFICATION_BITS, collision_bound, seed_bytes, universal_hash


def as_number(bits, digit_bits):
    """Bits as the digits of a big integer, the first one lowest."""
    return int("".join(f"{bit:0{digit_bits}b}" for bit in reversed(bits.tolist())), 2)


def exact_toeplitz(bits, seed, secret_bits):
    """The same product by one multiplication of big integers, whose digits are wide enough not to carry."""
    product = as_number(bits, 32) * as_number(seed, 32)
    first = len(bits) - 1
    return [(product >> (32 * place)) & 1 for place in range(first, first + secret_bits)]


@pytest.mark.parametrize(("key_bits", "secret_bits"), [(1, 1), (7, 8), (1_000, 504), (6_000, 2_000)])
def test_the_toeplitz_product_is_exact(key_bits, secret_bits):
    rng = np.random.default_rng(key_bits)
    bits = rng.integers(0, 2, key_bits, dtype=np.uint8)
    seed = rng.integers(0, 2, seed_bit_count(key_bits, secret_bits), dtype=np.uint8)
    assert toeplitz_hash(bits, seed, secret_bits).tolist() == exact_toeplitz(bits, seed, secret_bits)


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_the_toeplitz_product_is_exact_over_any_number_of_blocks(block, monkeypatch):
    monkeypatch.setattr(amplification, "_BLOCK", block)
    for key_bits, secret_bits in ((1, 1), (63, 64), (64, 63), (130, 20), (20, 130)):
        rng = np.random.default_rng(key_bits)
        bits = rng.integers(0, 2, key_bits, dtype=np.uint8)
        seed = rng.integers(0, 2, seed_bit_count(key_bits, secret_bits), dtype=np.uint8)
        assert toeplitz_hash(bits, seed, secret_bits).tolist() == exact_toeplitz(bits, seed, secret_bits)


def test_the_toeplitz_matrix_is_the_one_written_down():
    rng = np.random.default_rng(3)
    n, length = 23, 11
    bits, seed = rng.integers(0, 2, n, dtype=np.uint8), rng.integers(0, 2, n + length - 1, dtype=np.uint8)
    matrix = np.array([[seed[i - j + n - 1] for j in range(n)] for i in range(length)])
    assert toeplitz_hash(bits, seed, length).tolist() == (matrix @ bits % 2).tolist()


def test_a_million_equal_bits_stay_exact():
    # All ones: every place of the product is the number of ones of the seed in a window, at its largest.
    n, length = 1_000_000, 500_000
    seed = np.random.default_rng(4).integers(0, 2, n + length - 1, dtype=np.uint8)
    sums = np.concatenate(([0], np.cumsum(seed, dtype=np.int64)))
    assert np.array_equal(toeplitz_hash(np.ones(n, np.uint8), seed, length), (sums[n:] - sums[:-n]) & 1)


def test_a_product_that_is_not_close_to_integers_is_not_used(monkeypatch):
    exact = amplification.fft.irfft
    monkeypatch.setattr(amplification.fft, "irfft", lambda spectrum, size: exact(spectrum, size) + 0.11)
    with pytest.raises(RoundFailed, match="round-off 0.11"):
        toeplitz_hash(np.ones(100, np.uint8), np.ones(149, np.uint8), 50)


def test_the_transform_is_in_double_precision(monkeypatch):
    precisions, exact = [], amplification.fft.rfft
    monkeypatch.setattr(
        amplification.fft, "rfft", lambda values, size: precisions.append(values.dtype) or exact(values, size)
    )
    toeplitz_hash(np.ones(100, np.uint8), np.ones(149, np.uint8), 50)
    assert set(precisions) == {np.dtype(np.float64)}  # float32 is silently wrong at a million bits


def test_a_seed_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="must have 11 bits, not 10"):
        toeplitz_hash(np.zeros(8, np.uint8), np.zeros(10, np.uint8), 4)


def polynomial(bits, point, verification_bits):
    """The hash as its definition says, word by word."""
    word_bits, prime = verification_bits - 1, 2**verification_bits - 1
    words = [bits[i : i + word_bits] for i in range(0, len(bits), word_bits)]
    words = [int("".join(map(str, word)).ljust(word_bits, "0"), 2) for word in words]
    return sum(word * point ** (len(words) - i) for i, word in enumerate(words)) % prime


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=1500),
    st.sampled_from(VERIFICATION_BITS),
    st.binary(min_size=16),
)
def test_the_verification_hash_is_the_polynomial_written_down(bits, verification_bits, random):
    seed = random[: seed_bytes(verification_bits)]
    point = int.from_bytes(seed, "big") >> (8 * len(seed) - verification_bits)
    value = universal_hash(pack(np.array(bits, np.uint8)), len(bits), seed, verification_bits)
    assert int.from_bytes(value, "big") == polynomial(bits, point, verification_bits)


@pytest.mark.parametrize("verification_bits", VERIFICATION_BITS)
@pytest.mark.parametrize("ones", [False, True])  # all ones: the largest sums there can be
def test_the_hash_of_long_strings_is_the_same_polynomial(verification_bits, ones):
    rng = np.random.default_rng(verification_bits)
    word_bits, prime = verification_bits - 1, 2**verification_bits - 1
    for bit_count in (256 * word_bits, 35 * 256 * word_bits + 17 * word_bits + 5):
        bits = np.ones(bit_count, np.uint8) if ones else rng.integers(0, 2, bit_count, dtype=np.uint8)
        seed = b"\xff" * 15 + b"\x5a" if ones else rng.bytes(16)
        seed = seed[-seed_bytes(verification_bits) :]
        point, expected = int.from_bytes(seed, "big") >> (8 * len(seed) - verification_bits), 0
        digits = "".join(map(str, bits))
        for i in range(0, bit_count, word_bits):
            expected = (expected + int(digits[i : i + word_bits].ljust(word_bits, "0"), 2)) * point % prime
        assert int.from_bytes(universal_hash(pack(bits), bit_count, seed, verification_bits), "big") == expected


def test_a_single_wrong_bit_anywhere_changes_the_hash():
    rng = np.random.default_rng(5)
    bits, seed = rng.integers(0, 2, 700, dtype=np.uint8), rng.bytes(12)
    hashes = {universal_hash(pack(bits), 700, seed, 89)}
    for place in range(700):
        wrong = bits.copy()
        wrong[place] ^= 1
        hashes.add(universal_hash(pack(wrong), 700, seed, 89))
    assert len(hashes) == 701


def test_the_collision_bound_is_words_and_one_over_field_size():
    assert collision_bound(10**6, 89) == 11_365 / 2**89
    assert collision_bound(1, 61) == 2 / 2**61, "the point 0, where all strings agree, is spelt by two seeds"
