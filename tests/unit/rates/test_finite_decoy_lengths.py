from dataclasses import replace
from math import exp, factorial, log, log2, sqrt

import numpy as np
import pytest

from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.bb84.decoy_statistics import normal_phase_error_bound, serfling_phase_error_bound
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.one_decoy import PROOFS, one_decoy_length
from qkde.bb84.two_decoy import two_decoy_length
from qkde.parameter_sets import load
from qkde.rates.asymptotic import multi_photon_probability, vacuum_weak_bounds
from qkde.rates.channel import Channel
from qkde.rates.counts import expected_counts
from qkde.rates.predicted import Assumptions, predict

CHANNEL = Channel.of(load("lab"))
TWO = Intensities((0.6, 0.2, 0.0), (0.5, 0.4, 0.1))
ONE = Intensities((0.6, 0.2), (0.6, 0.4))
SECURITY = {"epsilon_secrecy": 1e-10, "correctness_bits": log2(2e15)}


def length_of(pulses, intensities=TWO, *, channel=CHANNEL, p=0.8, leak_bits=0.0, **options):
    key, test = (expected_counts(channel, intensities, pulses, basis) for basis in (p, 1 - p))
    compute = two_decoy_length if len(intensities.means) == 3 else one_decoy_length
    return compute(key, test, intensities, leak_bits=leak_bits, **{**SECURITY, **options})


def observed(random, intensities, pulses, channel, yields=None):
    """One run with photon numbers on record: counts by intensity, and what no end can see."""
    detected, errors = np.zeros(len(intensities.means), int), np.zeros(len(intensities.means), int)
    hidden = {"vacuum": 0, "single": 0, "single_errors": 0}
    for k, (mean, p) in enumerate(zip(intensities.means, intensities.probabilities, strict=True)):
        sent_as = [exp(-mean) * mean**n / factorial(n) for n in range(12)]
        numbers = random.multinomial(random.binomial(pulses, p), [*sent_as, 1 - sum(sent_as)])
        for n, sent in enumerate(numbers):
            clicks = channel.photons(n)
            gain = clicks.gain if yields is None else yields(n)
            seen = random.binomial(sent, gain)
            wrong = random.binomial(seen, clicks.qber)
            detected[k] += seen
            errors[k] += wrong
            if n == 0:
                hidden["vacuum"] += seen
            if n == 1:
                hidden["single"] += seen
                hidden["single_errors"] += wrong
    return BasisCounts(tuple(map(int, detected)), tuple(map(int, errors))), hidden


@pytest.mark.parametrize(
    ("intensities", "options"), [(TWO, {}), (ONE, {"proof": "wiesemann"}), (ONE, {"proof": "rusca"})]
)
def test_the_bounds_hold_against_the_photon_numbers_that_nobody_sees(intensities, options):
    # Each bound may fail with probability 1e-3/15 or less: over 100 runs, none is expected to.
    random = np.random.default_rng(3)
    compute = two_decoy_length if intensities is TWO else one_decoy_length
    for _ in range(100):
        key, hidden = observed(random, intensities, 300_000, CHANNEL)
        test, tested = observed(random, intensities, 150_000, CHANNEL)
        found = compute(
            key, test, intensities, leak_bits=0, epsilon_secrecy=1e-3, correctness_bits=50, **options
        )
        assert 0 < found.single_photon_events <= hidden["single"]
        assert found.vacuum_events <= hidden["vacuum"]
        assert tested["single_errors"] / tested["single"] < found.phase_error_bound < 0.5


@pytest.mark.parametrize("intensities", [TWO, ONE])
def test_photon_number_splitting_leaves_no_key(intensities):
    """Eve blocks single photons and lets more of the others through, so that the signal's gain stays."""
    lossy = Channel(transmittance=0.05, dark_count_probability=1e-6, misalignment=0.01)
    forwarded = lossy.coherent(0.6).gain / multi_photon_probability(0.6)
    compute = two_decoy_length if intensities is TWO else one_decoy_length

    def secret_bits(yields=None):
        random = np.random.default_rng(4)
        counts = [observed(random, intensities, 30_000_000, lossy, yields)[0] for _ in range(2)]
        return compute(*counts, intensities, leak_bits=0, **SECURITY).secret_bits

    assert secret_bits() > 0
    assert secret_bits(lambda n: forwarded if n >= 2 else 0.0) == 0


def test_two_decoys_with_endless_counts_see_what_vacuum_and_weak_decoy_see():
    pulses, p = 1e20, 0.5
    found = length_of(pulses, p=p)
    signal, decoy = CHANNEL.coherent(0.6), CHANNEL.coherent(0.2)
    limit = vacuum_weak_bounds(
        signal_intensity=0.6, decoy_intensity=0.2, signal_gain=signal.gain, decoy_gain=decoy.gain,
        decoy_qber=decoy.qber, vacuum_gain=CHANNEL.coherent(0).gain,
    )  # fmt: skip
    singles_sent = pulses * p**2 * TWO.photon_probability(1)
    assert found.single_photon_events / singles_sent == pytest.approx(limit.yield_, rel=1e-6)
    assert found.phase_error_bound == pytest.approx(limit.error_rate, rel=1e-6)


def test_dark_counts_that_are_proven_make_key():
    """A click without a photon tells Eve nothing: its bit is Bob's alone."""
    random = np.random.default_rng(5)
    dark = Channel(transmittance=0.01, dark_count_probability=0.02, misalignment=0.01)
    (key, hidden), (test, _) = (observed(random, TWO, 10_000_000, dark) for _ in range(2))
    found = two_decoy_length(key, test, TWO, leak_bits=0, **SECURITY)
    assert 0.9 * hidden["vacuum"] < found.vacuum_events <= hidden["vacuum"]
    assert found.length_bits == pytest.approx(found.vacuum_events, rel=0.1)


def test_the_length_of_lim_and_others_is_their_equations_written_out():
    mu1, mu2, mu3 = 0.5, 0.15, 0.01
    (p1, p2, p3), epsilon = (0.5, 0.3, 0.2), 1e-9
    key = BasisCounts((600_000, 110_000, 5_500), (6_000, 1_150, 60))
    test = BasisCounts((300_000, 55_000, 2_700), (3_100, 560, 30))
    leak = 80_000.0

    def tau(n):
        return sum(p * exp(-k) * k**n for k, p in ((mu1, p1), (mu2, p2), (mu3, p3)))

    def plus_minus(counts, k, p, sign, which):
        return exp(k) / p * (counts[which] + sign * sqrt(sum(counts) / 2 * log(21 / epsilon)))

    def events(counts):
        s0 = tau(0) * (mu2 * plus_minus(counts, mu3, p3, -1, 2) - mu3 * plus_minus(counts, mu2, p2, 1, 1)) / (mu2 - mu3)
        s0 = max(0, s0)
        inner = plus_minus(counts, mu1, p1, 1, 0) - s0 / tau(0)
        inner = plus_minus(counts, mu2, p2, -1, 1) - plus_minus(counts, mu3, p3, 1, 2) - (
            (mu2**2 - mu3**2) / mu1**2 * inner
        )
        return s0, tau(1) * mu1 * inner / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)

    s0, s1 = events(key.detected)
    _, c = events(test.detected)
    m_low = max(0, plus_minus(test.errors, mu3, p3, -1, 2))
    b = tau(1) * (plus_minus(test.errors, mu2, p2, 1, 1) - m_low) / (mu2 - mu3) / c
    spread = (c + s1) * (1 - b) * b / (c * s1)
    gamma = sqrt(spread / log(2) * log2(1 / spread * ((c + s1) / (c * s1)) ** 2 * 21**2 / epsilon**2))
    expected = s0 + s1 - s1 * binary_entropy(b + gamma) - leak - 6 * log2(21 / epsilon) - log2(2 / 1e-15)

    found = two_decoy_length(
        key, test, Intensities((mu1, mu2, mu3), (p1, p2, p3)),
        leak_bits=leak, epsilon_secrecy=epsilon, correctness_bits=log2(2e15),
    )  # fmt: skip
    assert found.phase_error_bound == pytest.approx(b + gamma)
    assert found.secret_bits == int(expected) > 0


@pytest.mark.parametrize(
    ("proof", "proof_bits"),
    [("rusca", 6 * log2(19 / 1e-10)), ("wiesemann", 4 * log2(15 / (2**0.25 * 1e-10)))],
)
def test_one_decoy_subtracts_what_its_proof_says(proof, proof_bits):
    # So many dark counts that vacuum events can be proven.
    dark = replace(CHANNEL, transmittance=0.01, dark_count_probability=0.02)
    found = length_of(1e9, ONE, channel=dark, leak_bits=1000, proof=proof)
    kept = found.vacuum_events + found.single_photon_events * (1 - binary_entropy(found.phase_error_bound))
    assert found.length_bits == pytest.approx(kept - 1000 - proof_bits - log2(2e15), abs=1e-6)
    assert (found.vacuum_events > 0) == (proof == "rusca")


def test_one_decoy_with_endless_counts_bounds_dark_counts_by_errors():
    pulses = 1e20
    found = length_of(pulses, ONE, p=0.5)
    signal, decoy = CHANNEL.coherent(0.6), CHANNEL.coherent(0.2)
    # As with a vacuum decoy, but Y0 is at most 2·e^ν·E_ν·Q_ν.
    most_dark = 2 * exp(0.2) * decoy.error_gain
    bracket = decoy.gain * exp(0.2) - signal.gain * exp(0.6) / 9 - 8 / 9 * most_dark
    singles_sent = pulses * 0.25 * ONE.photon_probability(1)
    assert found.single_photon_events / singles_sent == pytest.approx(0.6 / (0.12 - 0.04) * bracket, rel=1e-6)


def test_the_corrected_one_decoy_proof_gives_less_key_than_the_first():
    for pulses in (1e7, 1e8, 1e9):
        assert length_of(pulses, ONE, proof="wiesemann").length_bits < length_of(pulses, ONE, proof="rusca").length_bits


@pytest.mark.parametrize("intensities", [TWO, ONE])
def test_the_key_basis_cannot_vouch_for_the_phase_error(intensities):
    """Errors of the test basis alone bound it: an Eve who always measures in the key basis leaves no key."""
    key = expected_counts(CHANNEL, intensities, 1e9, 0.8)
    test = expected_counts(CHANNEL, intensities, 1e9, 0.2)
    compute = two_decoy_length if intensities is TWO else one_decoy_length
    disturbed = BasisCounts(test.detected, tuple(n / 2 for n in test.detected))
    assert compute(key, test, intensities, leak_bits=0, **SECURITY).secret_bits > 0
    found = compute(key, disturbed, intensities, leak_bits=0, **SECURITY)
    assert found.phase_error_bound == 0.5 and found.secret_bits == 0


@pytest.mark.parametrize("bound", [normal_phase_error_bound, serfling_phase_error_bound])
def test_a_small_test_basis_without_errors_proves_nothing(bound):
    assert bound(0, 10, 1e6, 1e-11) == 0.5
    assert bound(0, 0, 1e6, 1e-11) == bound(0, 10, 0, 1e-11) == 0.5
    # At zero errors in c tests a rate of ln(1/ε²)/c cannot be excluded.
    assert bound(0, 10_000, 1e6, 1e-11) > 2 * log(1e11) / 10_000


@pytest.mark.parametrize("proof", ["two", *PROOFS])
def test_a_verification_hash_of_t_bits_costs_t_bits(proof):
    intensities, options = (TWO, {}) if proof == "two" else (ONE, {"proof": proof})
    lengths = [length_of(1e8, intensities, correctness_bits=t, **options).length_bits for t in (10, 99)]
    assert lengths[0] - lengths[1] == pytest.approx(89)


def test_no_counts_give_no_key():
    for intensities, compute in ((TWO, two_decoy_length), (ONE, one_decoy_length)):
        none = (0,) * len(intensities.means)
        found = compute(BasisCounts(none, none), BasisCounts(none, none), intensities, leak_bits=0, **SECURITY)
        assert found.secret_bits == 0 and found.phase_error_bound == 0.5


def test_the_lab_set_makes_a_block_of_key_from_some_10_million_pulses():
    link = load("lab")
    two = predict("finite-two-decoy", link, Assumptions(block_size_bits=7.8e5))
    one = predict("finite-one-decoy", link, Assumptions(block_size_bits=7.8e5))
    assert two.pulses == pytest.approx(1e7, rel=0.2) and two.secret_bits > 100_000
    assert one.pulses == pytest.approx(1e7, rel=0.2) and one.secret_bits > 100_000


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Intensities((0.5, 0.6), (0.5, 0.5)), "intensities are 0.5, 0.6: expected each above the next"),
        (lambda: Intensities((0.5, -0.1), (0.5, 0.5)), "none below 0"),
        (lambda: Intensities((0.5, 0.1), (0.5, 0.4)), "expected a sum of 1"),
        (lambda: Intensities((0.5, 0.1), (1.0, 0.0)), "expected above 0"),
        (lambda: Intensities((0.5, 0.1), (1.0,)), "2 intensities with 1 probabilities"),
        (lambda: BasisCounts((10, 10), (1, 11)), "errors are 1, 11 of 10, 10 detections"),
        (lambda: BasisCounts((10, 10), (1,)), "2 counts of detections with 1 of errors"),
        (lambda: length_of(1e8, Intensities((0.3, 0.2, 0.1), (0.5, 0.3, 0.2))), "above decoy and vacuum together"),
        (lambda: length_of(1e8, Intensities((0.3, 0.0), (0.5, 0.5))), "decoy intensity is 0: expected above 0"),
        (lambda: length_of(1e8, epsilon_secrecy=0.0), "epsilon_secrecy is 0: expected above 0 and below 1"),
        (lambda: length_of(1e8, ONE, proof="lim"), "proof is 'lim': expected wiesemann or rusca"),
        (lambda: two_decoy_length(*[BasisCounts((1, 1), (0, 0))] * 2, TWO, leak_bits=0, **SECURITY), "2 counts with 3"),
        (lambda: two_decoy_length(*[BasisCounts((1, 1), (0, 0))] * 2, ONE, leak_bits=0, **SECURITY), "proof has 3"),
    ],
)
def test_impossible_counts_are_named_with_what_was_expected(call, expected):
    with pytest.raises(InvalidParameter, match=expected):
        call()
