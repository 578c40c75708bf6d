from dataclasses import replace
from math import exp, factorial

import numpy as np
import pytest

from qkde.bb84.errors import InvalidParameter
from qkde.parameter_sets import load
from qkde.rates.channel import DETECTIONS, Channel, live_fraction

GYS = Channel.of(load("gys"))
NOISY = Channel(transmittance=0.3, dark_count_probability=0.01, misalignment=0.033)


def poisson(mean, n):
    return exp(-mean) * mean**n / factorial(n)


def test_gys_at_50_km_has_the_gain_and_error_rate_of_the_reference():
    signal, single = GYS.coherent(0.48), GYS.photons(1)
    assert signal.gain == pytest.approx(1.9250e-3, abs=5e-8)
    assert signal.qber == pytest.approx(0.03341, abs=5e-6)
    assert single.gain == pytest.approx(4.0123e-3, abs=5e-8)
    assert single.qber == pytest.approx(0.03320, abs=5e-6)


@pytest.mark.parametrize("detection", DETECTIONS)
@pytest.mark.parametrize("mean", [0.05, 0.48, 3.0])
def test_a_coherent_pulse_is_the_poisson_mixture_of_photon_numbers(detection, mean):
    channel = replace(NOISY, detection=detection)
    mixed = [(poisson(mean, n), channel.photons(n)) for n in range(40)]
    assert channel.coherent(mean).gain == pytest.approx(sum(p * clicks.gain for p, clicks in mixed))
    assert channel.coherent(mean).error_gain == pytest.approx(sum(p * clicks.error_gain for p, clicks in mixed))


def test_bright_pulses_need_the_exact_threshold_model():
    bright = Channel(transmittance=1.0, misalignment=0.033)
    assert bright.coherent(0.48).qber == pytest.approx(0.03300, abs=5e-6)
    assert replace(bright, detection="threshold").coherent(0.48).qber == pytest.approx(0.03357, abs=5e-6)


def test_the_threshold_model_is_what_two_detectors_and_a_coin_do():
    channel = replace(NOISY, detection="threshold")
    mean, pulses = 1.5, 400_000
    random = np.random.default_rng(20)
    dark = 1 - (1 - channel.dark_count_probability) ** 0.5
    photons = random.binomial(random.poisson(mean, pulses), channel.transmittance)
    misled = random.binomial(photons, channel.misalignment)
    right = (photons > misled) | (random.random(pulses) < dark)
    wrong = (misled > 0) | (random.random(pulses) < dark)
    errors = np.where(right, random.random(pulses) < 0.5, True) & wrong
    for seen, expected in (
        ((right | wrong).mean(), channel.coherent(mean).gain), (errors.mean(), channel.coherent(mean).error_gain),
    ):  # fmt: skip
        sigma = (expected * (1 - expected) / pulses) ** 0.5
        assert seen == pytest.approx(expected, abs=3 * sigma)


def test_both_models_agree_where_little_light_arrives():
    faint = Channel(transmittance=1e-4, dark_count_probability=1e-6, misalignment=0.02)
    exact = replace(faint, detection="threshold")
    assert exact.coherent(0.5).gain == pytest.approx(faint.coherent(0.5).gain, rel=1e-4)
    assert exact.coherent(0.5).qber == pytest.approx(faint.coherent(0.5).qber, rel=1e-4)


@pytest.mark.parametrize("detection", DETECTIONS)
def test_darkness_is_wrong_half_of_the_time(detection):
    dark = Channel(transmittance=0, dark_count_probability=1e-5, detection=detection)
    assert dark.coherent(0.5).gain == pytest.approx(1e-5)
    assert dark.coherent(0.5).qber == pytest.approx(0.5)


def test_without_a_click_the_error_rate_is_undefined():
    assert Channel(transmittance=0).coherent(0.5).qber is None


def test_afterpulses_add_clicks_of_random_value():
    quiet = NOISY.coherent(0.5)
    after = replace(NOISY, afterpulse_probability=0.04).coherent(0.5)
    assert after.gain == pytest.approx(1.04 * quiet.gain)
    assert after.error_gain == pytest.approx(quiet.error_gain + 0.02 * quiet.gain)


def test_dead_time_costs_pulses_only_where_it_outlasts_their_distance():
    assert live_fraction(0.2, 1e7, 5e-8) == live_fraction(0.2, 1e7, 1e-7) == 1
    assert live_fraction(0.2, 1e7, 4e-7) == pytest.approx(1 / 1.6)
    # r/(1 + rτ) for many pulses in a dead time, r = Q times the pulse rate.
    assert live_fraction(1e-3, 1e9, 1e-5) == pytest.approx(1 / (1 + 1e6 * 1e-5), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"transmittance": 1.1}, "transmittance is 1.1: expected from 0 to 1"),
        ({"transmittance": float("nan")}, "transmittance is nan"),
        ({"misalignment": 0.6}, "misalignment is 0.6: expected from 0 to 0.5"),
        ({"dark_count_probability": -1e-6}, "dark_count_probability is -1e-06"),
        ({"detection": "exact"}, "detection is 'exact': expected first-order or threshold"),
    ],
)
def test_an_impossible_channel_is_named_with_its_range(changes, expected):
    with pytest.raises(InvalidParameter, match=expected):
        replace(NOISY, **changes)


def test_light_is_never_negative():
    with pytest.raises(InvalidParameter, match="intensity is -1"):
        NOISY.coherent(-1)
    with pytest.raises(InvalidParameter, match="photon_count is -1"):
        NOISY.photons(-1)
