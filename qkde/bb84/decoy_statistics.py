"""What the finite-key decoy proofs share: bounds on numbers that nobody sees, from counts by intensity.

Eve gets photons, not intensities: a pulse of n photons had intensity k with probability p_k·e^(−k)·k^n/(n!·τ_n),
whatever she did. So the counts of each intensity scatter around what the photon numbers make them, and Hoeffding's
inequality says how far (J. Am. Stat. Assoc. 58, 13, 1963).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor, log, log2, sqrt

from qkde.bb84.decoy_counts import Intensities
from qkde.bb84.finite_key import binary_entropy


@dataclass(frozen=True)
class ProvenLength:
    """ℓ of a proof and where it came from.

    length_bits: before rounding; zero or less means no key. vacuum_events, single_photon_events: lower bounds on the
    clicks in the key basis from pulses with 0 and 1 photons. phase_error_bound: of the single photons, at most 1/2.
    """

    length_bits: float
    vacuum_events: float
    single_photon_events: float
    phase_error_bound: float

    @property
    def unknown_bits(self) -> float:
        """Bits of the sifted key that Eve has nothing of by the quantum channel: s0 + s1·[1 − h(φ)]."""
        return self.vacuum_events + secret_part(self.single_photon_events, self.phase_error_bound)

    @property
    def secret_bits(self) -> int:
        """What privacy amplification may keep."""
        return max(0, floor(self.length_bits))


def correctness_bits(epsilon_correctness: float) -> float:
    """log2(2/ε_c), as the decoy proofs have it; a t-bit verification hash costs t instead."""
    return log2(2 / epsilon_correctness)


def hoeffding_deviation(total: float, epsilon: float) -> float:
    """δ(n, ε) = √(n/2·ln(1/ε))."""
    return sqrt(total / 2 * log(1 / epsilon))


def weighted_bounds(
    counts: tuple[float, ...], intensities: Intensities, epsilon: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """n⁻_k and n⁺_k = e^k/p_k·(n_k ∓ δ(n, ε)); no count is below 0 or above all of them."""
    total = sum(counts)
    deviation = hoeffding_deviation(total, epsilon)
    weights = [exp(mean) / p for mean, p in zip(intensities.means, intensities.probabilities, strict=True)]
    low = tuple(w * max(0.0, count - deviation) for w, count in zip(weights, counts, strict=True))
    high = tuple(w * min(total, count + deviation) for w, count in zip(weights, counts, strict=True))
    return low, high


def normal_sampling_deviation(error_rate: float, test_events: float, key_events: float, epsilon: float) -> float:
    """γ = √{(c+d)(1−b)b/(cd·ln2)·log2[(c+d)/(cd(1−b)b·ε²)]}: test to key basis, sampling without replacement.

    Fung, Ma, Chau, PRA 81, 012318 (2010), as Lim et al. and Rusca et al. use it. b: error rate, c: events in the test
    basis, d: in the key basis. It stands on a normal approximation: see `phase_error_bound`.
    """
    b, c, d = error_rate, test_events, key_events
    spread = (c + d) * (1 - b) * b / (c * d)
    return sqrt(max(0.0, spread / log(2) * log2((c + d) / (c * d * (1 - b) * b * epsilon**2))))


def serfling_sampling_deviation(test_events: float, key_events: float, epsilon: float) -> float:
    """√{(c+d)(d+1)/(c·d²)·ln(1/ε)}, with no approximation: Serfling, Ann. Stat. 2, 39 (1974), with failure ε²."""
    c, d = test_events, key_events
    return sqrt((c + d) * (d + 1) / (c * d**2) * log(1 / epsilon))


def normal_phase_error_bound(errors: float, test_events: float, key_events: float, epsilon: float) -> float:
    """b + γ, at most 1/2, where b is never taken below 2·ln(1/ε) errors in the test basis.

    With fewer the normal approximation fails: γ would vanish with the errors, and a test basis of ten bits without an
    error would prove a key. The published formulas do not have this floor; where they are sound it changes nothing.
    """
    if test_events <= 0 or key_events <= 0:
        return 0.5
    error_rate = max(errors, 2 * log(1 / epsilon)) / test_events
    if error_rate >= 0.5:
        return 0.5
    return min(0.5, error_rate + normal_sampling_deviation(error_rate, test_events, key_events, epsilon))


def serfling_phase_error_bound(errors: float, test_events: float, key_events: float, epsilon: float) -> float:
    """b plus Serfling's deviation, at most 1/2."""
    if test_events <= 0 or key_events <= 0:
        return 0.5
    return min(0.5, errors / test_events + serfling_sampling_deviation(test_events, key_events, epsilon))


def single_photon_errors(errors: tuple[float, ...], intensities: Intensities, epsilon: float) -> float:
    """v ≤ τ1·(m⁺_a − m⁻_b)/(a − b) of the last two intensities a > b: errors on pulses of one photon."""
    low, high = weighted_bounds(errors, intensities, epsilon)
    a, b = intensities.means[-2:]
    return max(0.0, intensities.photon_probability(1) * (high[-2] - low[-1]) / (a - b))


def secret_part(single_photon_events: float, phase_error_bound: float) -> float:
    """s1·[1 − h(φ)]."""
    return single_photon_events * (1 - binary_entropy(phase_error_bound))
