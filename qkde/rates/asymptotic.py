"""Secret-key rates of infinitely long keys, in bits per pulse. All assume collective or coherent attacks on BB84 with
basis-independent source and detection, one-way reconciliation at f times the Shannon limit, and no statistical
fluctuation. A rate below 0 means no key; it is not cut off, so that it can be searched for its zero.

`sifting` q: the part of the clicks that make key. 1/2 for unbiased bases, p² + (1−p)² where either basis makes key.
`efficiency` f ≥ 1: leakage of the reconciliation over the Shannon limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from qkde.bb84.errors import InvalidParameter
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.ranges import check_range


@dataclass(frozen=True)
class SinglePhotons:
    """Y1, a lower bound on the yield of single photons, and e1, an upper bound on their error rate (at most 1/2)."""

    yield_: float
    error_rate: float


def single_photon_rate(gain: float, qber: float, *, efficiency: float = 1.0, sifting: float = 0.5) -> float:
    """q·Q·[1 − h(E) − f·h(E)]: ideal single photons.

    Shor and Preskill, PRL 85, 441 (2000), with f as in Lo, Ma, Chen 2005. Zero at E = 11.0028 % for f = 1.
    Assumes that every click comes from one photon, and that the phase error rate equals the bit error rate.
    """
    _check(gain, qber, efficiency, sifting)
    return sifting * gain * (1 - (1 + efficiency) * binary_entropy(qber))


def qber_limit(efficiency: float = 1.0) -> float:
    """The error rate at which `single_photon_rate` ends: (1 + f)·h(E) = 1."""
    check_range("efficiency", efficiency, 1, 100)
    return _bisect(lambda qber: 1 - (1 + efficiency) * binary_entropy(qber), 0.0, 0.5)


def multi_photon_probability(intensity: float) -> float:
    """1 − (1 + μ)·e^(−μ): two or more photons in a coherent pulse."""
    return 1 - (1 + intensity) * exp(-intensity)


def gllp_rate(gain: float, qber: float, intensity: float, *, efficiency: float = 1.0, sifting: float = 0.5) -> float:
    """q·{−Q·f·h(E) + Q·(1 − Δ)·[1 − h(E/(1 − Δ))]}, Δ = p_multi/Q: weak coherent pulses without decoys.

    Gottesman, Lo, Lütkenhaus, Preskill, Quant. Inf. Comput. 4, 325 (2004). Assumes the worst: every multi-photon pulse
    arrived and is known to Eve, and all errors are on the rest.
    """
    _check(gain, qber, efficiency, sifting)
    tagged = multi_photon_probability(intensity)
    leak = gain * efficiency * binary_entropy(qber)
    if tagged >= gain:
        return -sifting * leak
    untagged = gain - tagged
    return sifting * (untagged * (1 - binary_entropy(qber * gain / untagged)) - leak)


def decoy_rate(
    gain: float,
    qber: float,
    intensity: float,
    single: SinglePhotons,
    *,
    efficiency: float = 1.0,
    sifting: float = 0.5,
) -> float:
    """q·{−Q_μ·f·h(E_μ) + μ·e^(−μ)·Y1·[1 − h(e1)]}: signal pulses, with what decoys tell of single photons.

    Lo, Ma, Chen, PRL 94, 230504 (2005). With the true Y1 and e1 it is the limit of infinitely many decoys; with
    `vacuum_weak_bounds` what two decoys reach. Assumes a phase-randomised Poisson source, and that Eve cannot tell
    a decoy's photons from a signal's.
    """
    _check(gain, qber, efficiency, sifting)
    single_gain = intensity * exp(-intensity) * single.yield_
    return sifting * (single_gain * (1 - binary_entropy(single.error_rate)) - gain * efficiency * binary_entropy(qber))


def vacuum_weak_bounds(
    *, signal_intensity: float, decoy_intensity: float, signal_gain: float, decoy_gain: float, decoy_qber: float,
    vacuum_gain: float,
) -> SinglePhotons:  # fmt: skip
    """Bounds on single photons from one weak decoy ν and the vacuum: Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005), VI.

        Y1 ≥ μ/(μν − ν²)·[Q_ν·e^ν − Q_μ·e^μ·ν²/μ² − (μ² − ν²)/μ²·Y0],   e1 ≤ (E_ν·Q_ν·e^ν − Y0/2)/(Y1·ν)

    Takes observed gains as if they were exact; errors of dark counts are taken as one half.
    """
    mu, nu = signal_intensity, decoy_intensity
    if not 0 < nu < mu:
        raise InvalidParameter(f"decoy_intensity is {nu:g}: expected above 0 and below signal_intensity {mu:g}")
    bracket = (
        decoy_gain * exp(nu) - signal_gain * exp(mu) * nu**2 / mu**2 - (mu**2 - nu**2) / mu**2 * vacuum_gain
    )
    yield_ = min(1.0, mu / (mu * nu - nu**2) * bracket)
    errors = decoy_qber * decoy_gain * exp(nu) - vacuum_gain / 2
    # Counts that contradict the model prove nothing of the single photons.
    if yield_ <= 0 or errors < 0:
        return SinglePhotons(max(0.0, yield_), 0.5)
    return SinglePhotons(yield_, min(0.5, errors / (yield_ * nu)))


def optimal_intensity(misalignment: float, efficiency: float = 1.0) -> float:
    """μ that solves (1 − μ)·e^(−μ) = f·h(e_d)/(1 − h(e_d)): Ma et al. 2005, Eq. (12), for small η and no dark counts.

    0.479 for the `gys` set. 0 where that much misalignment leaves no key at any intensity.
    """
    check_range("misalignment", misalignment, 0, 0.5)
    check_range("efficiency", efficiency, 1, 100)
    entropy = binary_entropy(misalignment)
    if (1 + efficiency) * entropy >= 1:
        return 0.0
    wanted = efficiency * entropy / (1 - entropy)
    return _bisect(lambda mu: (1 - mu) * exp(-mu) - wanted, 0.0, 1.0)


def _check(gain: float, qber: float, efficiency: float, sifting: float) -> None:
    check_range("gain", gain, 0, 1)
    check_range("qber", qber, 0, 1)
    check_range("efficiency", efficiency, 1, 100)
    check_range("sifting", sifting, 0, 1)


def _bisect(falling, low: float, high: float) -> float:
    """The zero of a falling function, to the last bit or so."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
