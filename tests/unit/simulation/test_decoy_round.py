"""Rounds with weak coherent pulses and decoys: gains, errors, lengths. Limits are three standard deviations."""

import math
from dataclasses import replace

import pytest

from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.bb84.two_decoy import two_decoy_length
from qkde.simulation import simulate_round
from qkde.simulation_settings import setting_of

# Strong light and short fibre, so that few pulses make a key.
BRIGHT = {
    "signal_intensity": 0.6, "decoy_intensity": 0.2, "vacuum_intensity": 0.0, "signal_probability": 0.5,
    "decoy_probability": 0.4, "vacuum_probability": 0.1, "key_basis_probability": 0.7, "misalignment": 0.01,
    "epsilon_secrecy": 1e-4, "epsilon_correctness": 1e-9, "verification_bits": 61,
}  # fmt: skip


def run(pulses=600_000, seed=5, **values):
    setting = setting_of(pulses, values)
    return simulate_round(setting.parameters, setting.physics, setting.source, seed=seed)


@pytest.fixture(scope="module")
def bright():
    return run(**BRIGHT)


def within_3_sigma(rate, count, expected):
    return abs(rate - expected) <= 3 * math.sqrt(expected * (1 - expected) / count)


def test_gains_and_error_rates_of_the_gys_set_are_those_of_theory():
    """Theory for two threshold detectors; test_link_detectors has the checkpoints of the papers."""
    result = run(pulses=2_000_000, set="gys", distance_km=10.0)
    for row in result.intensities:
        assert within_3_sigma(row["gain"], row["pulses"], row["gain_expected"])
        for basis in ("key", "test"):
            if row[f"detected_{basis}"] > 20:
                assert within_3_sigma(row[f"qber_{basis}"], row[f"detected_{basis}"], row[f"qber_{basis}_expected"])


def test_intensities_are_sent_as_often_as_was_set(bright):
    rows = bright.intensities
    assert [row["name"] for row in rows] == ["signal", "decoy", "vacuum"]
    for row, probability in zip(rows, (0.5, 0.4, 0.1), strict=True):
        assert within_3_sigma(row["pulses"] / 600_000, 600_000, probability)


def test_the_secret_length_is_the_two_decoy_formula_at_the_counts(bright):
    report, rows = bright.report, bright.intensities
    key, test = (
        BasisCounts(
            tuple(row[f"detected_{basis}"] for row in rows),
            tuple(round((row[f"qber_{basis}"] or 0) * row[f"detected_{basis}"]) for row in rows),
        )
        for basis in ("key", "test")
    )
    length = two_decoy_length(
        key, test, Intensities((0.6, 0.2, 0.0), (0.5, 0.4, 0.1)), leak_bits=report.leak_alice, epsilon_secrecy=1e-4,
        correctness_bits=61,
    )  # fmt: skip
    assert report.secret_bits == int(length.length_bits - 64) // 8 * 8 > 1_000
    assert report.phase_error_bound == length.phase_error_bound
    assert report.disclosed_bits == report.sample_bits + report.leak_alice + 61


def test_without_vacuum_pulses_the_one_decoy_proof_is_used():
    report = run(**{**BRIGHT, "decoy_probability": 0.5, "vacuum_probability": 0.0}).report
    assert report.parameters["proof"].startswith("one decoy")
    assert report.secret_bits > 0


def test_without_decoys_there_is_no_key():
    values = {**BRIGHT, "signal_probability": 1.0, "decoy_probability": 0.0, "vacuum_probability": 0.0}
    report = run(pulses=50_000, **values).report
    assert report.secret_bits == 0 and "decoy_probability is 0" in report.abort_reason


def test_intensities_for_which_no_proof_holds_give_no_key():
    report = run(pulses=50_000, **{**BRIGHT, "decoy_intensity": 0.5, "vacuum_intensity": 0.2}).report
    assert report.secret_bits == 0 and "the decoy proof does not hold" in report.abort_reason


def test_decoys_see_an_eve_who_splits_photon_numbers():
    """Over a lossy fibre she can block single photons; without her the same link gives key."""
    values = {**BRIGHT, "loss_db": 6.0, "pulses": 3_000_000}
    honest, attacked = run(**values), run(**values, eve="photon-number-splitting")
    assert honest.report.secret_bits > 0 and attacked.report.secret_bits == 0
    assert not attacked.report.qber_test > 2 * honest.report.qber_test
    decoy = attacked.intensities[1]
    assert decoy["gain"] < 0.8 * decoy["gain_expected"]
    assert attacked.ground_truth.eve_sure_bits > 0.7 * attacked.ground_truth.key_bits


def test_an_eve_who_splits_the_beam_learns_what_the_proof_allows(bright):
    result = run(**BRIGHT, loss_db=0.5, eve="beam-splitting")
    truth = result.ground_truth
    assert result.report.secret_bits > 0 and truth.eve_sure_bits > 1_000
    assert truth.within_proof_bound and truth.eve_information_bits < 1e-6
    assert truth.eve_sure_bits <= truth.eve_guessed_bits


def test_too_many_errors_in_the_test_basis_abort():
    report = run(pulses=100_000, **{**BRIGHT, "misalignment": 0.1}).report
    assert "in the test basis is over the tolerance 0.05" in report.abort_reason and report.secret_bits == 0


def test_a_seed_repeats_a_round_with_decoys():
    first, again = (run(pulses=100_000, **BRIGHT) for _ in range(2))
    assert first.intensities == again.intensities
    assert replace(first.report, elapsed_s=0, stages={}) == replace(again.report, elapsed_s=0, stages={})
