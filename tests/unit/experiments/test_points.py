"""What is computed at a point. Limits are three standard deviations, at fixed seeds."""

from math import sqrt

import pytest

from qkd_lab.experiments import simulated
from qkd_lab.experiments.computed import check, compute
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.parameters import resolved
from qkd_lab.experiments.tasks import Task
from qkde.link.aer import SimulationFailed
from qkde.parameter_sets import load
from qkde.rates.predicted import Assumptions, predict

NOISE = {"source": "single-photon", "pulses": 100_000, "key_basis_probability": 0.7, "qber_tolerance": 0.11}
BRIGHT = {"set": "gys", "pulses": 2_000_000, "distance_km": 5.0, "signal_probability": 0.4, "decoy_probability": 0.4,
          "vacuum_probability": 0.2}  # fmt: skip


def result_of(kind, seed=3, **parameters):
    return compute(Task("series", kind, 0, 0, seed, resolved(kind, parameters)))[0]


def theory_of(parameters):
    return result_of("theory", model="link", **parameters)


def assert_agrees(found, theory, rate, count):
    """`count`: of the trials of which `rate` is the expected share."""
    expected = theory[rate]
    assert abs(found[rate] - expected) <= 3 * sqrt(expected * (1 - expected) / found[count])


@pytest.mark.parametrize("depolarizing", [0.02, 0.08, 0.16])
def test_the_error_rate_of_depolarizing_noise_is_half_of_it(depolarizing):
    point = {**NOISE, "depolarizing": depolarizing, "loss_db": 1.0}
    theory, found = theory_of(point), result_of("simulation", **point)
    assert theory["qber_test"] == pytest.approx(depolarizing / 2)
    assert theory["gain"] == pytest.approx(10**-0.1)
    assert_agrees(found, theory, "gain", "pulses_sent")
    assert_agrees(found, theory, "qber_test", "disclosed_test")
    assert_agrees(found, theory, "qber_key", "corrected_key")


@pytest.mark.parametrize(
    ("eve", "in_key", "in_test"),
    [
        ("intercept-resend", 0.3 / 4, 0.3 / 4),
        ("intercept-resend:z", 0, 0.3 / 2),
        ("intercept-resend:x", 0.3 / 2, 0),
    ],
)
def test_eve_adds_what_her_part_of_the_pulses_and_her_basis_say(eve, in_key, in_test):
    point = {**NOISE, "eve": eve, "eve_fraction": 0.3, "misalignment": 0.02, "qber_tolerance": 0.4}
    theory, found = theory_of(point), result_of("simulation", **point)
    assert theory["qber_key"] == pytest.approx(0.02 + in_key * 0.96)
    assert theory["qber_test"] == pytest.approx(0.02 + in_test * 0.96)
    assert_agrees(found, theory, "qber_test", "disclosed_test")
    knows_key = found["eve_information_per_key_bit"]
    assert knows_key == pytest.approx({"z": 0.3, "x": 0}.get(eve[-1], 0.15), abs=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"eve": "intercept-resend:0.1:22.5"},
        {"eve": "beam-splitting"},
        {"eve": "intercept-resend:1", "source": "weak-coherent"},
    ],
)
def test_an_eve_without_a_theory_is_refused_before_the_run(changes):
    with pytest.raises(ExperimentError, match="my.toml: series s, point 1: no theory for eve .* expected none, or"):
        check(Task("s", "theory", 0, 0, 0, resolved("theory", {**NOISE, "model": "link", **changes})), "my.toml")


def test_the_expected_key_is_that_of_the_round_but_for_what_cascade_told():
    point = {**NOISE, "depolarizing": 0.04, "error_correction_efficiency": 1.16}
    theory, found = theory_of(point), result_of("simulation", **point)
    assert found["secret_bits_per_pulse"] == pytest.approx(theory["secret_bits_per_pulse"], rel=0.05)
    assert theory_of({**point, "qber_tolerance": 0.01})["secret_bits_per_pulse"] == 0
    both = theory_of({**point, "leak_counted": "both"})["secret_bits_per_pulse"]
    assert 0 < both < theory["secret_bits_per_pulse"]


def test_decoys_of_the_gys_set_agree_with_theory_and_so_does_the_rate_at_their_counts():
    theory, found = theory_of(BRIGHT), result_of("simulation", **BRIGHT)
    for light in ("signal", "decoy", "vacuum"):
        assert_agrees(found, theory, f"{light}_gain", f"{light}_pulses")
    for basis in ("key", "test"):
        assert_agrees(found, theory, f"signal_qber_{basis}", f"signal_detected_{basis}")
    formula = predict("vacuum-weak", load("gys").changed(distance_km=5.0), Assumptions()).secret_bits_per_pulse
    assert abs(found["vacuum_weak_rate"] - formula) <= 3 * found["vacuum_weak_rate_sigma"] < formula


def test_faint_pulses_without_decoys_agree_with_gllp():
    faint = {"signal_intensity": 0.01, "decoy_intensity": 0.005, "signal_probability": 1.0, "decoy_probability": 0.0,
             "vacuum_probability": 0.0}  # fmt: skip
    found = result_of("simulation", **{**BRIGHT, **faint})
    link = load("gys").changed(distance_km=5.0, signal_intensity=0.01, decoy_intensity=0.005)
    formula = predict("gllp", link, Assumptions()).secret_bits_per_pulse
    assert abs(found["gllp_rate"] - formula) <= 3 * found["gllp_rate_sigma"] < 3 * formula
    assert "vacuum_weak_rate" not in found


def test_single_photons_agree_with_the_asymptotic_rate():
    found = result_of("simulation", **{**NOISE, "depolarizing": 0.04, "error_correction_efficiency": 1.2})
    link = load("ideal").changed(misalignment=0.02, error_correction_efficiency=1.2, key_basis_probability=0.7)
    formula = predict("ideal", link, Assumptions()).secret_bits_per_pulse
    assert abs(found["ideal_rate"] - formula) <= 3 * found["ideal_rate_sigma"] < formula


def test_a_point_with_enough_clicks_stops_and_one_without_goes_on_to_its_last_pulse():
    point = {**NOISE, "pulses": 20_000, "loss_db": 3.0}
    enough = result_of("simulation", **point, enough_clicks=25_000, max_pulses=200_000)
    assert (enough["rounds"], enough["pulses_sent"]) == (3, 60_000) and enough["detected_pulses"] >= 25_000
    dark = result_of("simulation", **point, enough_clicks=10**6, max_pulses=50_000)
    assert (dark["rounds"], dark["pulses_sent"]) == (2, 40_000)
    assert result_of("simulation", **point)["rounds"] == 1
    # Rounds of one point are not the same round again.
    assert dark["detected_pulses"] != 2 * result_of("simulation", **point)["detected_pulses"]


def test_nothing_detected_leaves_rates_undefined():
    found = result_of("simulation", **{**NOISE, "pulses": 1000, "loss_db": 500.0})
    assert found["gain"] == 0 and found["qber"] is found["qber_test"] is found["qber_key"] is None
    theory = theory_of({**NOISE, "pulses": 1000, "loss_db": 500.0})
    assert theory["secret_bits_per_pulse"] == 0


def test_a_frame_is_reconciled_alike_by_whoever_does_it():
    frame = {"frame_bits": 10_000, "qber": 0.03, "reconciliation": "efficient"}
    first, second = (result_of("cascade", **frame) for _ in range(2))
    assert first.pop("bits_per_s") > 0 and second.pop("bits_per_s") > 0
    assert first == second != result_of("cascade", seed=4, **frame)
    assert first["is_right"] and 1 < first["reconciliation_efficiency"] < 1.2 and first["reconciliation_messages"] > 50


def test_what_fails_on_the_way_is_said_with_its_point(monkeypatch):
    def fail(*arguments, **options):
        raise SimulationFailed("Aer: no such method")

    monkeypatch.setattr(simulated, "simulate_round", fail)
    with pytest.raises(ExperimentError, match="series series, point 1: Aer: no such method"):
        result_of("simulation", **NOISE)


def test_an_optimum_is_told_only_where_there_is_key():
    found = result_of("theory", set="gys", model="decoy", optimize=True, distance_km=20.0)
    assert found["signal_intensity"] == pytest.approx(0.48, abs=0.005)
    assert "signal_intensity" not in result_of("theory", set="gys", model="decoy", optimize=True, distance_km=160.0)
