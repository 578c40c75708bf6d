from math import exp

import pytest

from qkde.bb84.errors import InvalidParameter
from qkde.parameter_sets import load
from qkde.rates.asymptotic import (
    SinglePhotons,
    decoy_rate,
    gllp_rate,
    multi_photon_probability,
    optimal_intensity,
    qber_limit,
    single_photon_rate,
    vacuum_weak_bounds,
)
from qkde.rates.channel import Channel
from qkde.rates.predicted import MODELS, Assumptions, predict

GYS = load("gys")


def bounds(**changes):
    channel = Channel.of(GYS)
    observed = {
        "signal_intensity": 0.48,
        "decoy_intensity": 0.05,
        "signal_gain": channel.coherent(0.48).gain,
        "decoy_gain": channel.coherent(0.05).gain,
        "decoy_qber": channel.coherent(0.05).qber,
        "vacuum_gain": channel.coherent(0).gain,
    }
    return vacuum_weak_bounds(**{**observed, **changes})


def test_ideal_photons_give_no_key_from_11_percent_on():
    assert qber_limit(1.0) == pytest.approx(0.110028, abs=5e-7)
    assert qber_limit(1.16) == pytest.approx(0.0981, abs=5e-5)
    assert single_photon_rate(1.0, 0.110027) > 0 > single_photon_rate(1.0, 0.110029)


def test_gys_at_50_km_has_the_rates_of_the_reference():
    assert predict("decoy", GYS, Assumptions()).secret_bits_per_pulse == pytest.approx(2.226e-4, abs=5e-8)
    assert predict("vacuum-weak", GYS, Assumptions()).secret_bits_per_pulse == pytest.approx(2.096e-4, abs=5e-8)


def test_the_optimal_intensity_of_gys_is_that_of_the_reference():
    assert optimal_intensity(0.033, 1.22) == pytest.approx(0.479, abs=5e-4)
    assert optimal_intensity(0.033, 1.0) == pytest.approx(0.54, abs=5e-3)
    assert optimal_intensity(0.11, 1.22) == 0


def test_two_decoys_never_promise_more_than_infinitely_many():
    channel = Channel.of(GYS)
    single = channel.photons(1)
    for weak in (0.001, 0.05, 0.2, 0.4):
        decoy = channel.coherent(weak)
        found = bounds(decoy_intensity=weak, decoy_gain=decoy.gain, decoy_qber=decoy.qber)
        assert found.yield_ < single.gain and found.error_rate > single.qber
    # The estimate tightens linearly in ν.
    assert bounds().yield_ == pytest.approx(single.gain, rel=0.02)


def test_photons_that_eve_splits_off_show_in_the_decoys():
    """She blocks single photons and makes up for the loss with the others: the signal's gain is as ever."""
    channel = Channel.of(GYS)
    gain = channel.coherent(0.48).gain
    forwarded = gain / multi_photon_probability(0.48)
    split = bounds(decoy_gain=forwarded * multi_photon_probability(0.05), decoy_qber=0.033)
    assert split.yield_ == 0 and split.error_rate == 0.5
    assert decoy_rate(gain, 0.033, 0.48, split) < 0


def test_counts_that_contradict_the_model_prove_nothing():
    assert bounds(decoy_qber=0.0).error_rate == 0.5


def test_without_decoys_every_multi_photon_pulse_is_lost_to_eve():
    assert multi_photon_probability(0.5) == pytest.approx(1 - 1.5 * exp(-0.5))
    # Where as many pulses click as have several photons, she knows all.
    assert gllp_rate(multi_photon_probability(0.5), 0.0, 0.5) == 0
    assert gllp_rate(0.01, 0.03, 0.5) < 0
    assert gllp_rate(0.5, 0.01, 1e-6) == pytest.approx(single_photon_rate(0.5, 0.01), rel=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_no_rate_grows_with_distance_and_none_is_negative(model):
    rates = [
        predict(model, load("lab").changed(distance_km=km), Assumptions(block_size_bits=1e7)).secret_bits_per_pulse
        for km in range(0, 300, 20)
    ]
    assert rates == sorted(rates, reverse=True) and rates[-1] == 0
    if model != "gllp":  # bright pulses without decoys give no key at any distance
        assert rates[0] > 0.02


def test_a_perfect_link_makes_one_bit_of_every_sifted_photon():
    found = predict("ideal", load("ideal"), Assumptions())
    assert (found.gain, found.qber, found.secret_bits_per_pulse) == (1.0, 0.0, 0.5)


def test_a_link_without_clicks_has_no_error_rate_and_no_key():
    dead = load("ideal").changed(attenuation_db_per_km=100, distance_km=1000)
    for model in MODELS:
        found = predict(model, dead, Assumptions())
        assert found.qber is None and found.secret_bits_per_pulse == 0


def test_sifting_follows_the_bias_of_the_bases_unless_it_is_given():
    assert predict("ideal", load("ideal").changed(key_basis_probability=0.9), Assumptions()).secret_bits_per_pulse == (
        pytest.approx(0.82)
    )
    assert predict("ideal", load("ideal"), Assumptions(sifting=1.0)).secret_bits_per_pulse == 1.0


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: single_photon_rate(1.1, 0.1), "gain is 1.1: expected from 0 to 1"),
        (lambda: single_photon_rate(0.1, -0.1), "qber is -0.1"),
        (lambda: single_photon_rate(0.1, 0.1, efficiency=0.9), "efficiency is 0.9: expected from 1"),
        (lambda: decoy_rate(0.1, 0.1, 0.5, SinglePhotons(0.1, 0.1), sifting=2), "sifting is 2"),
        (lambda: bounds(decoy_intensity=0.48), "decoy_intensity is 0.48: .* below signal_intensity 0.48"),
        (lambda: bounds(decoy_intensity=0.0), "decoy_intensity is 0: expected above 0"),
        (lambda: predict("decoy", GYS, Assumptions(qber=0.1)), "qber is for ideal and finite only"),
        (lambda: predict("bb84", GYS, Assumptions()), "model is 'bb84': expected one of ideal, gllp"),
        (lambda: Assumptions(block_size_bits=0), "block_size_bits is 0: expected from 1"),
        (lambda: Assumptions(epsilon_secrecy=1), "epsilon_secrecy is 1: expected above"),
        (lambda: predict("vacuum-weak", GYS.changed(vacuum_intensity=0.01), Assumptions()), "vacuum_intensity is 0.01"),
    ],
)
def test_an_impossible_argument_is_named_with_its_range(call, expected):
    with pytest.raises(InvalidParameter, match=expected):
        call()
