"""Clicks that are not light alone. Seeds are fixed; limits are three standard deviations."""

import math

import numpy as np
import pytest
from link_runs import errors_in, sent_through, within_3_sigma

from qkde.link.detectors import read_out
from qkde.link.physics import ImpossiblePhysics, LinkPhysics
from qkde.link.source import ImpossibleSource, SinglePhotons, WeakCoherentPulses
from qkde.link.theory import expected

N = 400_000


def in_the_dark(seed, **settings):
    return read_out(np.zeros(N, np.uint8), LinkPhysics(**settings), np.random.default_rng(seed))


def test_dark_counts_click_so_often_and_mean_nothing():
    clicks, outcomes = in_the_dark(51, dark_count_probability=0.1)
    assert within_3_sigma(clicks.sum(), N, 0.1)
    assert within_3_sigma(outcomes.sum(), clicks.sum(), 0.5)
    assert not outcomes[clicks == 0].any()


def test_fibre_loss_and_detector_efficiency_multiply():
    physics = LinkPhysics(distance_km=10, attenuation_db_per_km=0.3, loss_db=1, detector_efficiency=0.5)
    assert physics.transmittance == pytest.approx(0.5 * 10**-0.4)
    run = sent_through(physics, seed=52)
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, physics.transmittance)


def test_a_double_click_is_a_random_bit():
    clicks, outcomes = read_out(np.full(N, 3, np.uint8), LinkPhysics(), np.random.default_rng(53))
    assert clicks.all() and within_3_sigma(outcomes.sum(), N, 0.5)


def test_two_photons_on_two_detectors_click_twice():
    """Measured in the other basis, half of all photon pairs part: the outcome is a fair coin all the same."""
    run = sent_through(LinkPhysics(), seed=54, mean_photons=3.0)
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, 1 - math.exp(-3))
    assert not run.wrong.any()
    other = (run.bases != run.measured) & (run.sent.clicks == 1)
    assert within_3_sigma(run.sent.outcomes[other].sum(), other.sum(), 0.5)


def test_dead_time_is_not_paralysable():
    """r/(1 + rτ): 0.1 per pulse with 20 dead pulses gives 0.1/3."""
    clicks, _ = in_the_dark(55, dark_count_probability=0.1, dead_time_s=2e-7, repetition_rate_hz=1e8)
    at = np.flatnonzero(clicks)
    assert np.diff(at).min() == 21
    # The gaps are 20 + geometric: their number scatters by √(1 − p)/(1 + 20p) of a Poisson number.
    assert abs(at.size - N * 0.1 / 3) <= 3 * math.sqrt(N * 0.1 / 3)


def test_a_click_in_the_dead_time_does_not_prolong_it():
    fired = np.zeros(10, np.uint8)
    fired[[0, 2, 3, 9]] = 1
    clicks, _ = read_out(fired, LinkPhysics(dead_time_s=3e-8, repetition_rate_hz=1e8), np.random.default_rng(0))
    assert np.flatnonzero(clicks).tolist() == [0, 9]


def test_an_afterpulse_is_another_click_of_the_same_detector_after_the_dead_time():
    fired = np.zeros(40, np.uint8)
    fired[5] = 2
    physics = LinkPhysics(dead_time_s=2e-8, repetition_rate_hz=1e8, afterpulse_probability=1 - 1e-12)
    clicks, outcomes = read_out(fired, physics, np.random.default_rng(0))
    assert np.flatnonzero(clicks).tolist() == list(range(5, 40, 3))
    assert outcomes[clicks == 1].all()


def test_afterpulses_follow_so_many_of_the_clicks():
    fired = np.zeros(N, np.uint8)
    fired[::20] = 1
    clicks, _ = read_out(fired, LinkPhysics(afterpulse_probability=0.1), np.random.default_rng(56))
    first = N // 20
    more = int(clicks.sum()) - first
    assert abs(more - first / 9) <= 3 * math.sqrt(first * 0.1 / 0.9**3)  # p + p² + ...


@pytest.mark.parametrize("source", [SinglePhotons(), WeakCoherentPulses(signal_intensity=2.0)])
def test_gain_and_error_rate_are_those_of_theory(source):
    physics = LinkPhysics(loss_db=3, misalignment=0.05, depolarizing=0.04, dark_count_probability=0.02)
    mean = None if isinstance(source, SinglePhotons) else source.signal_intensity
    run = sent_through(physics, seed=57, pulses=200_000, mean_photons=mean)
    for basis in (0, 1):
        theory = expected(physics, source, basis)[0]
        errors, sifted = errors_in(run, basis)
        both = (run.bases == basis) & (run.measured == basis)
        assert within_3_sigma(sifted, both.sum(), theory.gain)
        assert within_3_sigma(errors, sifted, theory.error_rate)


def test_weak_pulses_have_the_gain_and_error_rate_of_the_papers():
    """Gobby, Yuan, Shields at 50 km: the reference's Q = 1.9250e-3 and E = 3.341 % are the limit for small ημ."""
    physics = LinkPhysics(
        distance_km=50, attenuation_db_per_km=0.21, detector_efficiency=0.045, misalignment=0.033,
        dark_count_probability=1.7e-6,
    )  # fmt: skip
    source = WeakCoherentPulses(signal_intensity=0.48, decoy_intensity=0.05)
    signal = expected(physics, source, 0)[0]
    assert signal.gain == pytest.approx(1.9250e-3, rel=1e-4)
    assert signal.error_rate == pytest.approx(0.03341, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("distance_km", -1), ("attenuation_db_per_km", -0.1), ("misalignment", 0.6), ("detector_efficiency", 0),
     ("dark_count_probability", 1), ("dead_time_s", -1), ("afterpulse_probability", 1), ("repetition_rate_hz", 0),
     ("distance_km", math.nan)],
)  # fmt: skip
def test_an_impossible_setting_is_refused_with_its_name_and_range(name, value):
    with pytest.raises(ImpossiblePhysics, match=f"{name} is .*: expected a"):
        LinkPhysics().changed(**{name: value})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"signal_intensity": 0}, "signal_intensity is 0: expected a mean photon number above 0"),
        ({"signal_intensity": -1}, "signal_intensity is -1"),
        ({"decoy_intensity": 0.6}, "each above the next"),
        ({"signal_probability": 0.5}, "add up to 0.8: expected 1"),
        ({"signal_probability": math.nan}, "signal_probability is nan"),
    ],
)
def test_an_impossible_source_is_refused_with_its_name_and_range(values, words):
    with pytest.raises(ImpossibleSource, match=words):
        WeakCoherentPulses(**values)


def test_settings_beyond_the_usual_ones_survive_as_plain_values():
    physics = LinkPhysics(distance_km=5, dead_time_s=1e-7).changed(noise="bit_flip:0.1", eve="beam-splitting")
    assert LinkPhysics().changed(**physics.settings()) == physics
