"""Privacy amplification: a random Toeplitz matrix times the verified string, by real FFTs in float64.

T[i, j] = seed[i − j + n − 1] with n bits in and ℓ out: the family is 2-universal, its seed has n + ℓ − 1 public bits
(Krawczyk 1994), fresh for each block. float32 is silently wrong at these sizes, hence the check of the round-off.

The matrix is cut into square blocks, each a Toeplitz matrix of its own; those of one diagonal are the same. So the
spectra of the input and of the diagonals are transformed once, and what is added up is products of spectra. It takes
as many operations as one transform of everything, but works in the processor's cache, and with a third of the memory.
"""

import numpy as np
from scipy import fft

from qkde.bb84.errors import RoundFailed

_BLOCK = 1 << 18


def seed_bit_count(key_bits: int, secret_bits: int) -> int:
    return key_bits + secret_bits - 1


def toeplitz_hash(bits: np.ndarray, seed: np.ndarray, secret_bits: int) -> np.ndarray:
    """The `secret_bits` bits of T·bits mod 2; `bits` of shape (n,), `seed` of shape (n + secret_bits − 1,), all
    uint8.
    """
    n = len(bits)
    if len(seed) != seed_bit_count(n, secret_bits):
        raise ValueError(f"the seed must have {seed_bit_count(n, secret_bits)} bits, not {len(seed)}")
    block = min(_BLOCK, fft.next_fast_len(max(n, secret_bits), real=True))
    column_count, row_count = -(-n // block), -(-secret_bits // block)
    width = column_count * block
    padded = np.concatenate((np.zeros(width - n, np.uint8), bits))  # in front: then the seed's indices stay the same
    columns = [_spectrum(padded[begin : begin + block], block) for begin in range(0, width, block)]
    rows, product = np.zeros((row_count, block + 1), np.complex128), np.empty(block + 1, np.complex128)
    for diagonal in range(1 - column_count, row_count):
        begin = (diagonal - 1) * block + width  # of its entries i − j = (diagonal − 1)·block + 1 and so on
        entries = _spectrum(seed[begin : begin + 2 * block], block)
        for row in range(max(0, diagonal), min(row_count, column_count + diagonal)):
            rows[row] += np.multiply(columns[row - diagonal], entries, out=product)
    return np.concatenate([_parities(row, block) for row in rows])[:secret_bits]


def _spectrum(bits: np.ndarray, block: int) -> np.ndarray:
    # A circular convolution of two blocks' length is enough: what wraps around falls on the first block − 1 places.
    return fft.rfft(bits.astype(np.float64), 2 * block)


def _parities(spectrum: np.ndarray, block: int) -> np.ndarray:
    """The bits of one row of blocks: integers, up to round-off."""
    products = fft.irfft(spectrum, 2 * block)[block - 1 : 2 * block - 1]
    counts = np.rint(products)
    round_off = float(np.abs(products - counts).max())
    if not round_off < 0.1:
        raise RoundFailed(f"the round-off {round_off:.2g} of the Toeplitz product is too large to be sure of its bits")
    return (counts.astype(np.int64) & 1).astype(np.uint8)
