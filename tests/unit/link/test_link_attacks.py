"""What each attack does to gains and errors, and what Eve has of it. Limits are three standard deviations."""

import math

import numpy as np
import pytest
from link_runs import has_qber, sent_through, within_3_sigma

from qkde.link.eve import ATTACKS, attack_from_text
from qkde.link.physics import LinkPhysics
from qkde.link.source import WeakCoherentPulses
from qkde.link.theory import expected


def attacked(eve, seed, **settings):
    run = {key: settings.pop(key) for key in ("mean_photons", "pulses") if key in settings}
    return sent_through(LinkPhysics(**settings).changed(eve=eve), seed, **run)


@pytest.mark.parametrize("fraction", [0.3, 1.0])
@pytest.mark.parametrize(
    ("basis", "added"),
    [("z", (0.0, 0.5)), ("x", (0.5, 0.0)), ("22.5", (0.25, 0.25)), ("10", None), ("random", (0.25, 0.25))],
)  # fmt: skip
def test_intercept_resend_in_a_basis_adds_what_theory_says_to_each(basis, fraction, added):
    in_z = math.sin(math.radians(20)) ** 2 / 2
    added = added or (in_z, 0.5 - in_z)
    run = attacked(f"intercept-resend:{fraction}:{basis}", seed=41, depolarizing=0.06)
    for alice in (0, 1):
        assert has_qber(run, alice, 0.03 + fraction * added[alice] * (1 - 0.06))


def test_at_breidbarts_angle_eve_is_right_more_often_than_in_a_random_basis():
    run = attacked("intercept-resend:1:22.5", seed=42)
    found = run.sent.knowledge[0]
    assert within_3_sigma((found.results == run.bits[found.measured]).sum(), run.bits.size, math.cos(math.pi / 8) ** 2)


def light_of(run, count):
    """Detection probability of the pulses that Alice sent with so many photons."""
    return run.sent.clicks[run.photons == count].mean()


def test_photon_number_splitting_keeps_bobs_gain_and_makes_no_error():
    run = attacked("photon-number-splitting", seed=43, mean_photons=0.5, loss_db=7, depolarizing=0)
    eta = 10**-0.7
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, 1 - math.exp(-0.5 * eta))
    assert not run.wrong.any()


def test_photon_number_splitting_is_seen_by_the_gain_of_a_decoy():
    """Of weaker pulses fewer have several photons: what she lets through of them is less than a fibre would."""
    rng_means = np.where(np.random.default_rng(1).random(200_000) < 0.5, 0.5, 0.05)
    run = attacked("photon-number-splitting", seed=44, mean_photons=rng_means, pulses=200_000, loss_db=10)
    honest = 1 - math.exp(-0.05 * 0.1)
    assert run.sent.clicks[rng_means == 0.05].mean() < 0.5 * honest


def test_of_a_pulse_of_several_photons_eve_keeps_one_and_learns_the_bit():
    run = attacked("photon-number-splitting", seed=45, mean_photons=0.5, loss_db=7)
    memory = run.sent.knowledge[0].memory
    assert (run.photons[memory.where] > 1).all() and memory.where.size > 1_000
    everything = np.arange(memory.where.size)
    assert np.array_equal(memory.measure(everything, run.bases[memory.where]), run.bits[memory.where])
    wrong_bases = memory.measure(everything, 1 - run.bases[memory.where])
    assert within_3_sigma((wrong_bases == run.bits[memory.where]).sum(), everything.size, 0.5)


def test_single_photons_have_nothing_to_split():
    run = attacked("photon-number-splitting", seed=46, loss_db=3)
    assert not run.sent.knowledge[0].memory.where.size
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, 10**-0.3)


def test_beam_splitting_changes_neither_gain_nor_errors():
    physics, source = LinkPhysics(loss_db=3, depolarizing=0.1), WeakCoherentPulses(signal_intensity=0.5)
    theory = expected(physics, source, 0)[0].error_rate
    run = attacked("beam-splitting", seed=47, mean_photons=0.5, loss_db=3, depolarizing=0.1)
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, 1 - math.exp(-0.5 * 10**-0.3))
    assert has_qber(run, 0, theory) and has_qber(run, 1, theory)


@pytest.mark.parametrize("eve", ["beam-splitting", "photon-number-splitting"])
def test_eve_cannot_replace_bobs_detectors(eve):
    run = attacked(eve, seed=50, mean_photons=0.5, loss_db=7, detector_efficiency=0.4)
    assert within_3_sigma(run.sent.clicks.sum(), run.bits.size, 1 - math.exp(-0.5 * 0.4 * 10**-0.7))


def test_beam_splitting_reads_the_pulses_of_which_both_get_light():
    eta = 10**-0.3
    run = attacked("beam-splitting", seed=48, mean_photons=0.5, loss_db=3)
    memory = run.sent.knowledge[0].memory
    both = run.sent.clicks[memory.where] == 1
    expected = (1 - math.exp(-0.5 * eta)) * (1 - math.exp(-0.5 * (1 - eta)))
    assert within_3_sigma(both.sum(), run.bits.size, expected)


def test_a_fraction_of_pulses_is_left_alone():
    run = attacked("photon-number-splitting:0", seed=49, mean_photons=0.5, loss_db=3)
    assert not run.sent.knowledge[0].memory.where.size


@pytest.mark.parametrize(
    "text", ["none", "intercept-resend:0.5", "intercept-resend:0.5:z", "intercept-resend:1:22.5",
             "photon-number-splitting", "photon-number-splitting:0.5", "beam-splitting", "beam-splitting:0.25"]
)  # fmt: skip
def test_every_attack_says_itself_in_the_text_that_makes_it(text):
    assert str(attack_from_text(text)) == text
    assert attack_from_text(text).name in ATTACKS


@pytest.mark.parametrize(
    "text", ["intercept-resend:0.5:y", "intercept-resend:0.5:91", "intercept-resend:0.5:nan",
             "intercept-resend:0.5:z:z", "beam-splitting:2", "beam-splitting:x", "none:",
             "photon-number-splitting:0.1:0.2"]
)  # fmt: skip
def test_an_attack_that_is_none_is_refused_with_what_is_expected(text):
    with pytest.raises(ValueError, match="expected"):
        attack_from_text(text)
