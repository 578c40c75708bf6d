"""A whole round in one process: what it reports, what Eve has, and that it repeats itself where it must."""

import math

import numpy as np
import pytest

from qkde.bb84.parameters import RoundParameters
from qkde.ground_truth import EveRecord, ground_truth
from qkde.link.physics import LinkPhysics
from qkde.link.source import WeakCoherentPulses
from qkde.link.tap import Knowledge
from qkde.simulation import simulate_round
from qkde.simulation_settings import ImpossibleSimulation, frames_of, setting_of

LOOSE = {"epsilon_secrecy": 1e-6, "epsilon_correctness": 1e-9, "verification_bits": 61}


def round_of(physics=None, seed=1, source=None, mode="grouped", **parameters):
    chosen = {"pulses_per_frame": 60_000, "key_basis_probability": 0.7, **LOOSE, **parameters}
    physics = LinkPhysics().changed(**(physics or {}))
    return simulate_round(RoundParameters(**chosen), physics, source, seed=seed, mode=mode)


def within_3_sigma(rate, count, expected):
    return abs(rate - expected) <= 3 * math.sqrt(expected * (1 - expected) / count)


def test_a_round_gives_secret_bits_and_the_qber_of_theory():
    result = round_of({"depolarizing": 0.06, "loss_db": 1})
    report = result.report
    assert report.outcome == "key" and report.secret_bits > 2_000
    assert within_3_sigma(report.qber, report.sifted_bits, 0.03)
    assert report.transcripts_agree


def test_a_seed_repeats_the_round_and_another_does_not():
    first, again, other = (
        {
            name: value
            for name, value in round_of({"depolarizing": 0.04}, seed=seed).to_json().items()
            if name not in ("elapsed_s", "stages")
        }
        for seed in (7, 7, 8)
    )
    assert first == again
    assert (first["qber"], first["detected_pulses"]) != (other["qber"], other["detected_pulses"])
    assert first["block_id"] != other["block_id"]


def test_without_a_seed_no_two_rounds_are_the_same():
    results = [round_of({"depolarizing": 0.1}, seed=None, pulses_per_frame=5_000) for _ in range(2)]
    assert len({(result.report.block_id, result.report.qber) for result in results}) == 2
    assert results[0].to_json()["seed"] is None


def test_alice_and_bob_choose_their_bases_apart():
    report = round_of(pulses_per_frame=60_000).report
    assert within_3_sigma(report.sifted_bits / report.pulses, report.pulses, 0.7**2 + 0.3**2)


def test_frames_are_counted_together():
    report = round_of({"depolarizing": 0.02}, pulses_per_frame=20_000, frame_count=3).report
    assert report.pulses == 60_000 == report.detected_pulses and report.secret_bits


def test_an_eve_always_in_z_is_caught_by_the_test_basis():
    """Pooled over both bases the QBER would be 0.6 %, while she knows every bit."""
    result = round_of({"eve": "intercept-resend:1:z"}, key_basis_probability=0.9)
    assert result.report.outcome == "aborted" and "test basis" in result.report.abort_reason
    assert within_3_sigma(result.report.qber_test, result.report.sample_bits, 0.5)
    truth = result.ground_truth
    assert truth.eve_sure_bits == truth.eve_guessed_bits == truth.key_bits > 0
    assert (truth.eve_information_bits, result.report.secret_bits) == (0, 0)


@pytest.mark.parametrize(("eve", "share"), [("intercept-resend:0.1", 0.05), ("intercept-resend:0.1:x", 0.0)])
def test_eve_knows_what_she_measured_in_the_right_basis(eve, share):
    result = round_of({"eve": eve}, qber_tolerance=0.1, pulses_per_frame=100_000)
    truth = result.ground_truth
    assert abs(truth.eve_sifted_information_bits - share * truth.key_bits) <= 3 * math.sqrt(truth.key_bits * 0.05)
    guessed = (1 + share) / 2
    assert within_3_sigma(truth.eve_guessed_bits / truth.key_bits, truth.key_bits, guessed)


def test_at_an_angle_eve_has_the_information_that_quantum_mechanics_gives():
    result = round_of({"eve": "intercept-resend:1:22.5"})
    truth, right = result.ground_truth, math.cos(math.pi / 8) ** 2
    entropy = -right * math.log2(right) - (1 - right) * math.log2(1 - right)
    assert truth.eve_sifted_information_bits == pytest.approx(truth.key_bits * (1 - entropy))
    assert within_3_sigma(truth.eve_guessed_bits / truth.key_bits, truth.key_bits, right)
    assert truth.eve_sure_bits == 0


def test_of_the_final_key_eve_has_next_to_nothing_and_stays_within_the_proof():
    result = round_of({"eve": "intercept-resend:0.1"}, pulses_per_frame=100_000)
    truth = result.ground_truth
    assert result.report.secret_bits > 1_000 and truth.within_proof_bound
    assert truth.eve_sifted_information_bits > 1_000 and truth.eve_information_bits < 1e-6
    assert truth.proof_allowance_bits > truth.eve_sifted_information_bits


def test_nobody_on_the_line_knows_nothing():
    truth = round_of().ground_truth
    assert (truth.eve_sifted_information_bits, truth.eve_sure_bits, truth.eve_information_bits) == (0, 0, 0)
    assert within_3_sigma(truth.eve_guessed_bits / truth.key_bits, truth.key_bits, 0.5)


def test_a_key_that_was_not_shortened_enough_would_show():
    """Where Eve has half of 1,000 bits for certain, 400 secret bits are safe, 500 are not, and 600 give her 100."""
    record, bits = EveRecord(), np.zeros(1_000, np.uint8)
    half = np.arange(500)
    found = Knowledge(half, np.zeros(500, np.uint8), np.zeros(500, np.uint8))
    record.hear([found], bits, 0, (0.0, 45.0), np.arange(1_000))
    known = [
        ground_truth(record, secret_bits=secret, public_bits=0, proof_allowance_bits=499.0)
        for secret in (400, 500, 600)
    ]
    assert known[0].eve_information_bits < 1e-25
    assert [round(truth.eve_information_bits, 3) for truth in known[1:]] == [1, 100]
    assert not known[0].within_proof_bound  # 500 are more than 499
    overheard = ground_truth(record, secret_bits=400, public_bits=150, proof_allowance_bits=499.0)
    assert round(overheard.eve_information_bits, 3) == 50


def test_nothing_sifted_is_an_abort_with_an_undefined_qber():
    result = round_of({"loss_db": 200}).to_json()
    assert result["aborted"] and "nothing was sifted" in result["abort_reason"]
    assert result["qber"] is None and result["qber_interval"] is None and result["secret_bits"] == 0


def test_the_exact_mode_makes_a_round_too():
    result = round_of({"depolarizing": 0.1}, mode="exact", pulses_per_frame=1_000, qber_tolerance=0.11)
    assert result.report.detected_pulses == 1_000 and result.mode == "exact"
    assert within_3_sigma(result.report.qber, result.report.sample_bits, 0.05)


def test_the_exact_mode_is_refused_where_it_would_take_for_ever():
    with pytest.raises(ImpossibleSimulation, match="pulses is 200000: mode exact takes up to 100000"):
        round_of(mode="exact", pulses_per_frame=200_000)


@pytest.mark.parametrize(("mode", "seed", "words"), [("fast", 1, "mode is 'fast'"), ("grouped", -1, "seed is -1")])
def test_a_run_that_cannot_be_made_is_refused(mode, seed, words):
    with pytest.raises(ImpossibleSimulation, match=words):
        round_of(mode=mode, seed=seed)


@pytest.mark.parametrize(
    ("pulses", "frames"), [(1, (1, 1)), (10**6, (10**6, 1)), (10**7, (10**6, 10)), (15_485_863, (15_485_863, 1))]
)
def test_frames_hold_exactly_the_pulses_asked_for(pulses, frames):
    assert frames_of(pulses) == frames


@pytest.mark.parametrize("pulses", [0, -1, 2**30 + 1, 179_424_673])
def test_a_number_of_pulses_that_no_frames_hold_is_refused(pulses):
    with pytest.raises(ImpossibleSimulation, match="pulses is"):
        frames_of(pulses)


def test_neither_end_finds_ground_truth_in_its_report():
    result = round_of({"eve": "intercept-resend:0.05"}, pulses_per_frame=20_000)
    assert not any("eve" in name for name in result.report.to_json() if name != "parameters")
    assert "ground_truth" in result.to_json()


def test_the_simulated_clock_counts_pulses():
    result = round_of({"repetition_rate_hz": 1e6})
    assert result.simulated_s == pytest.approx(0.06)
    assert result.to_json()["secret_bits_per_simulated_s"] == pytest.approx(result.report.secret_bits / 0.06)


def test_a_named_set_gives_what_is_not_said():
    setting = setting_of(1_000_000, {"set": "gys", "distance_km": 25.0})
    assert isinstance(setting.source, WeakCoherentPulses) and setting.source.signal_intensity == 0.48
    assert (setting.physics.distance_km, setting.physics.attenuation_db_per_km) == (25.0, 0.21)
    assert setting.parameters.key_basis_probability == 0.5


def test_too_few_pulses_for_one_bit_of_key_are_refused_with_how_many_it_takes():
    with pytest.raises(ImpossibleSimulation, match="pulses is 100: too few for one bit of key, expected at least 229"):
        setting_of(100, {})
    assert setting_of(229, {}).parameters.pulses == 229
