"""Finite key with two decoys: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014), Eqs. (1) to (5).

    ℓ = s0 + s1·[1 − h(φ)] − leak − t − 6·log2(21/ε_s)

s0, s1: lower bounds on clicks of the key basis from pulses with 0 and 1 photons; φ: upper bound on the phase error rate
of the latter, from the errors of the test basis alone. All intensities make key. Each of the 21 failures of the
estimates and of privacy amplification gets ε_s/21.

Assumptions: phase-randomised Poisson source whose intensities Eve cannot tell apart but by photon number; states
perfectly prepared; the probability of a click does not depend on Bob's basis; double clicks get a random bit; coherent
attacks (entropic uncertainty relation). Intensities μ1 > μ2 + μ3, μ2 > μ3 ≥ 0.

What is computed is the published formula. Wiesemann et al. (arXiv 2405.16578 v3) resolve flaws of earlier proofs of
this kind in how a fixed length goes with acceptance testing; their constants for two decoys are not known here. A fixed
length means: evaluated at thresholds agreed on before the run, which aborts when it is worse in any of them. On the
counts of a run the length is variable, which needs a proof of its own (framework: arXiv 2408.17349).

How the leakage of two-way reconciliation counts: see `qkde.bb84.finite_key`. In its default accounting the protocol
leaves s0 out: see `qkde.bb84.proofs`.
"""

from __future__ import annotations

from math import log2

from qkde.bb84.decoy_counts import BasisCounts, Intensities, checked_counts
from qkde.bb84.decoy_statistics import (
    ProvenLength,
    normal_phase_error_bound,
    secret_part,
    single_photon_errors,
    weighted_bounds,
)
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.ranges import check_open


def two_decoy_length(
    key: BasisCounts,
    test: BasisCounts,
    intensities: Intensities,
    *,
    leak_bits: float,
    epsilon_secrecy: float,
    correctness_bits: float,
) -> ProvenLength:
    """ℓ from the counts of both bases. Raises InvalidParameter.

    `correctness_bits` is t for a t-bit verification hash, or log2(2/ε_c) for the formula as published.
    """
    checked_counts((key, test), intensities, 3, "the two-decoy proof")
    signal, decoy, vacuum = intensities.means
    if not signal > decoy + vacuum:
        raise InvalidParameter(f"signal intensity is {signal:g}: expected above decoy and vacuum together")
    check_open("epsilon_secrecy", epsilon_secrecy, 0, 1)
    epsilon = epsilon_secrecy / 21
    vacuum_events, single_events = _events(key.detected, intensities, epsilon)
    _, test_singles = _events(test.detected, intensities, epsilon)
    errors = single_photon_errors(test.errors, intensities, epsilon)
    bound = normal_phase_error_bound(errors, test_singles, single_events, epsilon)
    length = vacuum_events + secret_part(single_events, bound) - leak_bits - correctness_bits - 6 * log2(1 / epsilon)
    return ProvenLength(length, vacuum_events, single_events, bound)


def _events(counts: tuple[float, ...], intensities: Intensities, epsilon: float) -> tuple[float, float]:
    """Lower bounds on clicks from pulses with no photon, Eq. (2), and with one, Eq. (3)."""
    total = sum(counts)
    mu1, mu2, mu3 = intensities.means
    tau0, tau1 = intensities.photon_probability(0), intensities.photon_probability(1)
    low, high = weighted_bounds(counts, intensities, epsilon)
    vacuum_events = tau0 * (mu2 * low[2] - mu3 * high[1]) / (mu2 - mu3)
    vacuum_events = min(total, max(0.0, vacuum_events))
    bracket = low[1] - high[2] - (mu2**2 - mu3**2) / mu1**2 * (high[0] - vacuum_events / tau0)
    single_events = tau1 * mu1 * bracket / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)
    return vacuum_events, min(total - vacuum_events, max(0.0, single_events))
