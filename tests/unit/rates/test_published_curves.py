"""What the papers say of their own curves must come out of the formulas."""

from math import log2

import pytest

from qkde.bb84.finite_key import binary_entropy, secret_length
from qkde.parameter_sets import load
from qkde.rates.channel import Channel
from qkde.rates.optimum import optimised
from qkde.rates.predicted import Assumptions, predict

GYS = load("gys")


def end_of_curve(rate_at, low=0.0, high=400.0):
    """Where a falling rate reaches zero."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rate_at(middle) > 0 else (low, middle)
    return low


def gys_rate(model, **changes):
    return lambda km: predict(model, GYS.changed(distance_km=km, **changes), Assumptions()).surplus_bits_per_pulse


def test_infinite_decoys_take_gys_to_142_km():
    # Ma, Qi, Zhao, Lo 2005, Fig. 2: 142.05 km.
    assert end_of_curve(gys_rate("decoy")) == pytest.approx(142.05, abs=0.1)


def test_vacuum_and_weak_decoy_take_gys_to_140_km():
    # The same figure: 140.55 km, with μ = 0.48 and ν = 0.05.
    assert end_of_curve(gys_rate("vacuum-weak")) == pytest.approx(140.55, abs=0.1)


def test_the_estimates_of_single_photons_are_as_loose_as_published():
    # The same paper, 3.6: at 40 km and ν/μ = 25 %, Y1 comes out 3.5 % too low and e1 16.8 % too high.
    link = GYS.changed(distance_km=40, decoy_intensity=0.12)
    bound, true = (predict(model, link, Assumptions()) for model in ("vacuum-weak", "decoy"))
    assert 1 - bound.single_photon_yield / true.single_photon_yield == pytest.approx(0.035, abs=5e-4)
    assert bound.single_photon_error_rate / true.single_photon_error_rate - 1 == pytest.approx(0.168, abs=5e-4)


def test_without_decoys_gys_ends_at_about_30_km():
    # Lo, Ma, Chen 2005: "about 30 km". With the intensity of the order of the transmittance, as that bound takes it.
    def rate(km):
        eta = GYS.changed(distance_km=km).transmittance
        faint = {"signal_intensity": eta, "decoy_intensity": eta / 2, "vacuum_intensity": 0.0}
        return gys_rate("gllp", **faint)(km)

    assert end_of_curve(rate) == pytest.approx(30, rel=0.1)
    # The best intensity at each distance goes somewhat further.
    best = optimised("gllp", GYS.changed(distance_km=38), Assumptions())
    assert predict("gllp", best, Assumptions()).secret_bits_per_pulse > 0
    assert best.signal_intensity == pytest.approx(best.transmittance / 2, rel=0.2)


def test_single_photons_of_gys_have_a_quarter_of_errors_at_208_km():
    # Lo, Ma, Chen 2005: no protocol with one-way reconciliation goes further, since e1 = 1/4 there.
    def qber(km):
        return Channel.of(GYS.changed(distance_km=km)).photons(1).qber

    assert end_of_curve(lambda km: 0.25 - qber(km)) == pytest.approx(208, abs=0.5)


def test_the_search_finds_the_optimal_intensity_of_gys():
    best = optimised("decoy", GYS.changed(distance_km=20), Assumptions())
    assert best.signal_intensity == pytest.approx(0.48, abs=0.005)


def test_single_photons_have_the_length_of_the_reference_through_the_prediction_too():
    # n = 10^6, k = 10^5, Q = 2 %, f = 1.16: k/n = ((1−p)/p)².
    p = 1 / (1 + 10**-0.5)
    link = load("ideal").changed(key_basis_probability=p, error_correction_efficiency=1.16)
    found = predict("finite", link, Assumptions(qber=0.02))
    assert found.secret_bits == pytest.approx(611_445, abs=1)
    assert found.secret_bits == int(
        secret_length(
            10**6, 10**5, qber_tolerance=0.02, leak_bits=1.16e6 * binary_entropy(0.02),
            epsilon_secrecy=1e-10, correctness_bits=log2(1e15),
        )
    )  # fmt: skip


def best_rate(model, link, block_size_bits, epsilon_secrecy):
    assumptions = Assumptions(block_size_bits=block_size_bits, epsilon_secrecy=epsilon_secrecy, proof="rusca")
    return predict(model, optimised(model, link, assumptions), assumptions).secret_bits_per_pulse


def test_blocks_a_hundred_times_longer_give_1_75_times_the_rate_at_100_km():
    # Lim et al. 2014, IV: R(10^9) is about 1.75 R(10^7), with ε_s = 10^-15 per secret bit.
    link = GYS.changed(
        attenuation_db_per_km=0.2, distance_km=100, misalignment=0.005, detector_efficiency=0.1,
        dark_count_probability=1.2e-6, afterpulse_probability=0.04, vacuum_intensity=2e-4,
        error_correction_efficiency=1.16,
    )  # fmt: skip
    long = best_rate("finite-two-decoy", link, 1e9, 1e-15 * 2.6e8)
    short = best_rate("finite-two-decoy", link, 1e7, 1e-15 * 2.4e6)
    assert long / short == pytest.approx(1.75, rel=0.05)


@pytest.mark.parametrize("block_size_bits", [1e6, 1e7])
def test_one_decoy_beats_two_in_blocks_of_usual_size(block_size_bits):
    # Rusca et al. 2018: up to 10^8 bits, for almost all settings (not where afterpulses make many errors).
    link = load("lab").changed(distance_km=50)
    rates = [best_rate(model, link, block_size_bits, 1e-9) for model in ("finite-one-decoy", "finite-two-decoy")]
    assert rates[0] > rates[1] > 0
