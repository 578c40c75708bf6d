"""Privacy amplification: a random Toeplitz matrix times the verified string, by one real FFT in float64.

T[i, j] = seed[i − j + n − 1] with n bits in and ℓ out: the family is 2-universal, its seed has n + ℓ − 1 public bits
(Krawczyk 1994), fresh for each block. float32 is silently wrong at these sizes, hence the check of the round-off.
"""

import numpy as np
from scipy import fft

from qkde.bb84.errors import RoundFailed


def seed_bit_count(key_bits: int, secret_bits: int) -> int:
    return key_bits + secret_bits - 1


def toeplitz_hash(bits: np.ndarray, seed: np.ndarray, secret_bits: int) -> np.ndarray:
    """The `secret_bits` bits of T·bits mod 2; `bits` of shape (n,), `seed` of shape (n + secret_bits − 1,), all
    uint8.
    """
    n = len(bits)
    if len(seed) != seed_bit_count(n, secret_bits):
        raise ValueError(f"the seed must have {seed_bit_count(n, secret_bits)} bits, not {len(seed)}")
    # A circular convolution as long as the seed is enough: what wraps around falls on the first n − 1 places only.
    size = fft.next_fast_len(len(seed), real=True)
    spectrum = fft.rfft(bits.astype(np.float64), size)
    spectrum *= fft.rfft(seed.astype(np.float64), size)
    product = fft.irfft(spectrum, size)[n - 1 : n - 1 + secret_bits]
    counts = np.rint(product)
    round_off = float(np.abs(product - counts).max(initial=0.0))
    if not round_off < 0.1:
        raise RoundFailed(f"the round-off {round_off:.2g} of the Toeplitz product is too large to be sure of its bits")
    return (counts.astype(np.int64) & 1).astype(np.uint8)
