"""Finite-key length for single photons: Tomamichel, Lim, Gisin, Renner, Nature Communications 3, 634 (2012).

    ℓ = n·[1 − h(Q_tol + μ)] − leak − t − log2(2/ε_s²),   μ = √((n+k)(k+1)/(n·k²)·ln(2/ε_s))

n bits of the key basis, k of the test basis, all of them disclosed. It is the *fixed-length* proof: Q_tol is chosen
before the run, and the round aborts when the test QBER is above it. The phase error comes from the test basis alone;
errors in the key basis only set the leakage. (Pooled, with p_Z = 0.9 an Eve who always measures in Z would pass at
0.6 %.) A t-bit verification hash is disclosed and stands in place of log2(1/ε_c), for 2^−t·L ≤ ε_c, see
`verification`. n, k and the leakage enter as they came out in the round, as if they had been agreed on before it: n
and k depend on bases and losses alone; a proof that does not need that is variable-length (arXiv 2408.17349).

How two-way reconciliation is counted. Default `alice`: Alice's parities only. Tupkary and Lütkenhaus (Phys. Rev.
Applied 20, 064040, 2023) hand Eve the whole error pattern A⊕B; then Bob's questions are a function of what she has,
and only Alice's parities leak. For qubits the pattern tells her nothing more about A: Z⊗Z commutes with X⊗X, so that
the number of phase errors bounds her as before. The assumption is that Bob's detection reduces to a qubit. Of weak
coherent pulses this is true of those with one photon, whose phase errors the decoy proofs bound; those with more are
Eve's anyway; those with none are hers with A⊕B, see `proofs`. `both` counts each of Bob's parities as well, which
doubles the leakage and needs no such argument.
"""

from math import inf, log, log2, sqrt

LEAK_COUNTED = ("alice", "both")


def binary_entropy(probability: float) -> float:
    """h(p) in bits; 1 from p = 1/2 on, as it bounds an error rate from above."""
    if probability >= 0.5:
        return 1.0
    if probability <= 0:
        return 0.0
    return -probability * log2(probability) - (1 - probability) * log2(1 - probability)


def sampling_deviation(key_bits: int, sample_bits: int, epsilon_secrecy: float) -> float:
    """μ: how far the phase error rate of the key may lie over the tolerance that the sample passed."""
    if key_bits <= 0 or sample_bits <= 0:
        return inf
    n, k = key_bits, sample_bits
    return sqrt((n + k) * (k + 1) / (n * k**2) * log(2 / epsilon_secrecy))


def phase_error_bound(key_bits: int, sample_bits: int, qber_tolerance: float, epsilon_secrecy: float) -> float:
    """Q_tol + μ, at most 1/2: above that a phase error rate says nothing more."""
    return min(0.5, qber_tolerance + sampling_deviation(key_bits, sample_bits, epsilon_secrecy))


def secret_length(
    key_bits: int,
    sample_bits: int,
    *,
    qber_tolerance: float,
    leak_bits: float,
    epsilon_secrecy: float,
    correctness_bits: float,
) -> float:
    """ℓ before rounding, in bits; zero or less means no key.

    `correctness_bits` is t for a t-bit verification hash, or log2(1/ε_c) for the formula as published.
    """
    bound = phase_error_bound(key_bits, sample_bits, qber_tolerance, epsilon_secrecy)
    secrecy_bits = log2(2 / epsilon_secrecy**2)
    return key_bits * (1 - binary_entropy(bound)) - leak_bits - correctness_bits - secrecy_bits
