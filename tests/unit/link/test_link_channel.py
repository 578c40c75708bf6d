"""What comes out of a link against what theory says. Seeds are fixed; limits are three standard deviations."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from qkde.link import aer, channel
from qkde.link.channel import transmit
from qkde.link.noise import UNDISTURBED, Disturbance, Noise
from qkde.link.physics import LinkPhysics
from qkde.link.tap import Knowledge, Tap

PULSES = 200_000


def within_3_sigma(count, trials, probability):
    return abs(count - trials * probability) <= 3 * (trials * probability * (1 - probability)) ** 0.5


def sent_through(physics, seed, pulses=PULSES):
    """Random bits and bases at both ends, and what came of them."""
    ends = np.random.default_rng(seed)
    bits, bases, measured = ends.integers(0, 2, (3, pulses), dtype=np.uint8)
    sent = transmit(bits, bases, measured, physics, np.random.default_rng(seed + 1))
    sifted = (bases == measured) & (sent.clicks == 1)
    return SimpleNamespace(
        bits=bits, bases=bases, measured=measured, sent=sent, sifted=sifted, wrong=sifted & (sent.outcomes != bits)
    )


def test_without_noise_every_outcome_in_alices_basis_is_her_bit_at_its_own_place():
    run = sent_through(LinkPhysics(), seed=1, pulses=10_007)  # no multiple of 5 or 8: the last shot is not full
    assert run.sifted.sum() == (run.bases == run.measured).sum() > 4_000
    assert not run.wrong.any()


def test_frames_longer_than_a_chunk_keep_their_order(monkeypatch):
    monkeypatch.setattr(channel, "CHUNK_PULSES", 1_000)
    run = sent_through(LinkPhysics(loss_db=3).changed(eve="intercept-resend:0.5"), seed=2, pulses=4_003)
    parts = run.sent.knowledge
    seen = Knowledge(*(np.concatenate([getattr(k, name) for k in parts]) for name in ("measured", "bases", "results")))
    untouched = np.ones(run.bits.size, bool)
    untouched[seen.measured] = False
    assert not (run.wrong & untouched).any()
    same_basis = seen.bases == run.bases[seen.measured]
    assert seen.measured.max() > 4_000
    assert np.array_equal(seen.results[same_basis], run.bits[seen.measured][same_basis])


def test_outcomes_in_the_other_basis_are_a_fair_coin_whatever_alice_sent():
    run = sent_through(LinkPhysics(depolarizing=0.1), seed=3)
    for bit in (0, 1):
        for basis in (0, 1):
            other = (run.bits == bit) & (run.bases == basis) & (run.measured != basis)
            assert within_3_sigma(run.sent.outcomes[other].sum(), other.sum(), 0.5)


@pytest.mark.parametrize("depolarizing", [0.02, 0.06, 0.5, 1.0])
def test_depolarizing_p_gives_a_qber_of_half_of_p_in_each_basis(depolarizing):
    run = sent_through(LinkPhysics(depolarizing=depolarizing), seed=4)
    for basis in (0, 1):
        here = run.sifted & (run.bases == basis)
        assert within_3_sigma(run.wrong[here].sum(), here.sum(), depolarizing / 2)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("depolarizing", [0.0, 0.06])
def test_intercept_resend_adds_a_quarter_of_its_fraction_to_the_qber_of_each_basis(fraction, depolarizing):
    physics = LinkPhysics(depolarizing=depolarizing).changed(eve=f"intercept-resend:{fraction}")
    run = sent_through(physics, seed=5)
    noise = depolarizing / 2
    for basis in (0, 1):
        here = run.sifted & (run.bases == basis)
        assert within_3_sigma(run.wrong[here].sum(), here.sum(), noise + fraction / 4 * (1 - 2 * noise))


def test_noise_is_an_instruction_of_the_circuit_itself():
    """Hung on a gate through a NoiseModel it can vanish with the gate when the circuit is optimised."""
    noisy = Disturbance((Noise("depolarizing", (0.1,)),))
    operations = Counter(step.operation.name for step in aer.pulse_circuit(0, 0, 0, noisy).data)
    assert operations == {"quantum_channel": aer.COPIES, "measure": aer.COPIES}
    assert "quantum_channel" not in aer.pulse_circuit(0, 0, 0, UNDISTURBED).count_ops()


@pytest.mark.parametrize("loss_db", [0.0, 3.0, 10.0, 30.0])
def test_a_pulse_arrives_with_the_probability_the_loss_says(loss_db):
    run = sent_through(LinkPhysics(loss_db=loss_db), seed=6)
    assert within_3_sigma(run.sent.clicks.sum(), PULSES, 10 ** (-loss_db / 10))
    assert not run.sent.outcomes[run.sent.clicks == 0].any()
    assert not run.wrong.any()


def test_loss_does_not_depend_on_bit_or_basis():
    run = sent_through(LinkPhysics(loss_db=3), seed=7)
    for chosen in (run.bits, run.bases, run.measured):
        assert within_3_sigma(run.sent.clicks[chosen == 1].sum(), chosen.sum(), 10**-0.3)


def test_only_the_pulses_that_arrive_run_on_aer(monkeypatch):
    simulated = []
    measure = aer.measure
    monkeypatch.setattr(aer, "measure", lambda bits, *rest: simulated.append(bits.size) or measure(bits, *rest))
    run = sent_through(LinkPhysics(loss_db=10), seed=8)
    assert simulated == [run.sent.clicks.sum()]


def test_the_same_seed_gives_the_same_transmission_and_another_seed_does_not():
    physics = LinkPhysics(loss_db=1, depolarizing=0.1).changed(eve="intercept-resend:0.5")
    first, again, other = (sent_through(physics, seed, pulses=5_000).sent for seed in (9, 9, 10))
    assert np.array_equal(first.clicks, again.clicks) and np.array_equal(first.outcomes, again.outcomes)
    assert not np.array_equal(first.outcomes, other.outcomes)


def test_two_runs_of_one_circuit_get_seeds_of_their_own():
    same = np.zeros(1_000, np.uint8)
    nature = np.random.default_rng(11)
    assert not np.array_equal(*(aer.measure(same, same, same + 1, UNDISTURBED, nature) for _ in range(2)))


def test_a_circuit_that_aer_does_not_run_is_an_error(monkeypatch):
    failed = SimpleNamespace(success=False, status="ERROR: no memory")
    job = SimpleNamespace(result=lambda: failed)
    monkeypatch.setattr(aer, "_simulator", lambda: SimpleNamespace(run=lambda *_, **__: job))
    with pytest.raises(aer.SimulationFailed, match="no memory"):
        sent_through(LinkPhysics(), seed=12, pulses=10)


class CuriousEve:
    """Measures everything twice in Z and keeps all that reached her."""

    name = "curious"

    def on(self, tap, nature):
        self.tap = tap
        everything = np.arange(tap.photon_numbers.size)
        bases = np.zeros(everything.size, np.uint8)
        self.first, self.second = tap.measure(everything, bases), tap.measure(everything, bases)
        return Knowledge(everything, bases, self.first)


def test_eve_is_given_photon_numbers_and_a_way_to_measure_and_nothing_else():
    eve = CuriousEve()
    run = sent_through(LinkPhysics(eve=eve), seed=13)
    assert isinstance(eve.tap, Tap)
    assert {name for name in dir(eve.tap) if not name.startswith("_")} == {
        "photon_numbers", "fibre_transmittance", "detector_efficiency", "measure", "store", "block", "bypass"
    }  # fmt: skip
    assert not hasattr(eve.tap, "__dict__")
    assert (eve.tap.photon_numbers == 1).all()
    in_x = run.bases == 1
    assert np.array_equal(eve.first[~in_x], run.bits[~in_x])
    assert within_3_sigma((eve.first[in_x] == run.bits[in_x]).sum(), in_x.sum(), 0.5)


def test_a_measurement_collapses_the_pulse_to_what_eve_found():
    eve = CuriousEve()
    run = sent_through(LinkPhysics(eve=eve), seed=14)
    assert np.array_equal(eve.first, eve.second)
    in_z = run.measured == 0
    assert np.array_equal(run.sent.outcomes[in_z], eve.first[in_z])


def test_an_eve_always_in_z_shows_in_the_other_basis_alone():
    run = sent_through(LinkPhysics(eve=CuriousEve()), seed=15)
    in_x = run.sifted & (run.bases == 1)
    assert not run.wrong[~in_x].any()
    assert within_3_sigma(run.wrong[in_x].sum(), in_x.sum(), 0.5)


def test_alices_and_bobs_own_arrays_are_left_as_they_were():
    run = sent_through(LinkPhysics().changed(eve="intercept-resend:1"), seed=16)
    again = np.random.default_rng(16).integers(0, 2, (3, PULSES), dtype=np.uint8)
    assert np.array_equal(again, [run.bits, run.bases, run.measured])


def test_nothing_secret_shows_in_the_text_of_a_transmission():
    sent = sent_through(LinkPhysics(), seed=17, pulses=100).sent
    assert repr(sent) == "Transmission()" and repr(sent.knowledge[0]) == "Knowledge()"
