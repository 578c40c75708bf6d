"""Finite key with one decoy: Rusca, Boaron, Grünenfelder, Martin, Zbinden, Appl. Phys. Lett. 112, 171104 (2018).

Without vacuum pulses, dark counts are bounded by the errors: a click without a photon is wrong half of the time.

    s0 ≤ 2·[τ0·e^(μ2)/p2·(m_2 + δ(m)) + δ(n)]
    s1 ≥ τ1·μ1/(μ2·(μ1 − μ2))·[n⁻_2 − μ2²/μ1²·n⁺_1 − (μ1² − μ2²)/μ1²·s0/τ0]

in either basis, so that the errors of the key basis are needed by intensity: they are known after reconciliation.

`rusca`, as published:     ℓ = s0⁻ + s1·[1 − h(φ)] − leak − t − 6·log2(19/ε_s), each failure ε_s/19, φ by the normal γ.
`wiesemann`, the default:  ℓ =       s1·[1 − h(φ)] − leak − t − 4·log2(15/(2^(1/4)·ε_s)), each failure ε_s/15, φ by
Serfling's inequality.

The correction: Wiesemann, Krause, Tupkary, Lütkenhaus, Rusca, Walenta (arXiv 2405.16578 v3; Quantum 10, 2037, 2026)
resolve flaws of earlier proofs: how a fixed length goes with acceptance testing, conditioning on events, and that with
one decoy the statistics exist only after error correction. Constants, deviation and the missing vacuum events are those
of the program that its authors publish with the paper; they were not checked against the text of the paper. Where
that program takes the better of two bounds on s0, from signal or decoy, this takes the decoy's, chosen beforehand.

Assumptions: as in `two_decoy`. A fixed length means: evaluated at thresholds agreed on before the run, which aborts
when it is worse in any of them. On the counts of a run the length is variable, which neither proof claims (framework:
arXiv 2408.17349).
"""

from __future__ import annotations

from math import log2

from qkde.bb84.decoy_counts import BasisCounts, Intensities, checked_counts
from qkde.bb84.decoy_statistics import (
    ProvenLength,
    hoeffding_deviation,
    normal_phase_error_bound,
    secret_part,
    serfling_phase_error_bound,
    single_photon_errors,
    weighted_bounds,
)
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.ranges import check_open

PROOFS = ("wiesemann", "rusca")


def one_decoy_length(
    key: BasisCounts,
    test: BasisCounts,
    intensities: Intensities,
    *,
    leak_bits: float,
    epsilon_secrecy: float,
    correctness_bits: float,
    proof: str = "wiesemann",
) -> ProvenLength:
    """ℓ from the counts of both bases. Raises InvalidParameter.

    `correctness_bits` is t for a t-bit verification hash, or log2(2/ε_c) for the formula as published.
    """
    checked_counts((key, test), intensities, 2, "the one-decoy proof")
    if intensities.means[1] <= 0:
        raise InvalidParameter(f"decoy intensity is {intensities.means[1]:g}: expected above 0")
    if proof not in PROOFS:
        raise InvalidParameter(f"proof is {proof!r}: expected {' or '.join(PROOFS)}")
    check_open("epsilon_secrecy", epsilon_secrecy, 0, 1)
    published = proof == "rusca"
    epsilon = epsilon_secrecy / (19 if published else 15)
    bound_phase_errors = normal_phase_error_bound if published else serfling_phase_error_bound
    proof_bits = 6 * log2(1 / epsilon) if published else 4 * log2(1 / epsilon) - 1

    single_events = _single_photon_events(key, intensities, epsilon)
    test_singles = _single_photon_events(test, intensities, epsilon)
    vacuum_events = _vacuum_events(key, intensities, epsilon) if published else 0.0
    errors = single_photon_errors(test.errors, intensities, epsilon)
    bound = bound_phase_errors(errors, test_singles, single_events, epsilon)
    length = vacuum_events + secret_part(single_events, bound) - leak_bits - correctness_bits - proof_bits
    return ProvenLength(length, vacuum_events, single_events, bound)


def _single_photon_events(counts: BasisCounts, intensities: Intensities, epsilon: float) -> float:
    """Lower bound on the clicks of a basis from pulses with one photon."""
    mu1, mu2 = intensities.means
    tau0, tau1 = intensities.photon_probability(0), intensities.photon_probability(1)
    total = counts.detected_count
    low, high = weighted_bounds(counts.detected, intensities, epsilon)
    _, errors_high = weighted_bounds(counts.errors, intensities, epsilon)
    most_vacuum = min(total, 2 * (tau0 * errors_high[1] + hoeffding_deviation(total, epsilon)))
    bracket = low[1] - mu2**2 / mu1**2 * high[0] - (mu1**2 - mu2**2) / mu1**2 * most_vacuum / tau0
    return min(total, max(0.0, tau1 * mu1 / (mu2 * (mu1 - mu2)) * bracket))


def _vacuum_events(counts: BasisCounts, intensities: Intensities, epsilon: float) -> float:
    """Lower bound on the clicks of a basis from pulses without a photon."""
    mu1, mu2 = intensities.means
    low, high = weighted_bounds(counts.detected, intensities, epsilon)
    events = intensities.photon_probability(0) * (mu1 * low[1] - mu2 * high[0]) / (mu1 - mu2)
    return min(counts.detected_count, max(0.0, events))
