"""The grouped execution against the oracle, one circuit of n qubits a frame: every attack and every noise.

Both get the same bits and bases. Ones per (bit, basis, measured basis), and clicks: two samples of one law differ by at
most 4 sigma in each of some 150 comparisons.
"""

import numpy as np
import pytest
from link_runs import has_qber, sent_through

from qkde.link import exact
from qkde.link.eve import ATTACKS, NoEve
from qkde.link.noise import NAMES, UNDISTURBED, NoiseFromFile
from qkde.link.physics import LinkPhysics

PULSES = 1_200
SETTINGS = [
    {},
    {"depolarizing": 0.2},
    {"noise": "bit_flip:0.2"},
    {"noise": "phase_flip:0.2"},
    {"noise": "amplitude_damping:0.4"},
    {"noise": "phase_damping:0.4"},
    {"noise": "pauli:0.1/0.1/0.2"},
    {"noise": "depolarizing:0.1,bit_flip:0.1"},
    {"misalignment": 0.2},
    {"eve": "intercept-resend:1"},
    {"eve": "intercept-resend:0.5", "depolarizing": 0.1},
    {"eve": "intercept-resend:1:z"},
    {"eve": "intercept-resend:1:30", "misalignment": 0.1},
    {"mean_photons": 1.0, "loss_db": 3, "dark_count_probability": 0.1},
    {"mean_photons": 1.0, "loss_db": 3, "eve": "intercept-resend:0.7"},
    {"mean_photons": 1.0, "loss_db": 3, "eve": "photon-number-splitting"},
    {"mean_photons": 1.0, "loss_db": 3, "eve": "beam-splitting"},
    {"mean_photons": 1.0, "loss_db": 3, "eve": "photon-number-splitting:0.5", "depolarizing": 0.2},
    {"mean_photons": 1.0, "loss_db": 3, "eve": "beam-splitting", "noise": "amplitude_damping:0.3"},
]


def agree(first, second, count):
    pooled = (first + second) / (2 * count)
    return abs(first - second) <= 4 * (2 * count * pooled * (1 - pooled)) ** 0.5


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ",".join(map(str, settings.values())) or "nothing")
def test_both_modes_follow_the_same_law(settings):
    physics = LinkPhysics().changed(**{name: value for name, value in settings.items() if name != "mean_photons"})
    runs = [
        sent_through(physics, seed=20, pulses=PULSES, mean_photons=settings.get("mean_photons"), mode=mode)
        for mode in ("grouped", "exact")
    ]
    one = runs[0]
    for group in range(8):
        where = (one.bits | one.bases << 1 | one.measured << 2) == group
        assert agree(*(int(run.sent.clicks[where].sum()) for run in runs), where.sum())
        assert agree(*(int(run.sent.outcomes[where].sum()) for run in runs), where.sum())


def test_no_noise_and_no_attack_is_left_out():
    compared = ",".join(f"{name}:{value}" for settings in SETTINGS for name, value in settings.items())
    assert all(name in compared for name in (*NAMES, *ATTACKS) if name != NoEve.name)


def test_a_users_own_error_follows_the_same_law_in_both_modes(tmp_path):
    (tmp_path / "noise.py").write_text(
        "from qiskit_aer.noise import amplitude_damping_error\nnoise = amplitude_damping_error(0.4)"
    )
    physics = LinkPhysics().changed(noise=(NoiseFromFile.load(tmp_path / "noise.py"),))
    for mode, pulses in (("grouped", 20_000), ("exact", 2_000)):
        run = sent_through(physics, seed=25, pulses=pulses, mode=mode)
        assert has_qber(run, 0, 0.2) and has_qber(run, 1, (1 - 0.6**0.5) / 2)


def test_in_the_oracle_a_measurement_collapses_what_bob_receives():
    run = sent_through(LinkPhysics().changed(eve="intercept-resend:1:z"), seed=21, pulses=400, mode="exact")
    results = np.concatenate([part.results for part in run.sent.knowledge])
    in_z = run.measured == 0
    assert np.array_equal(run.sent.outcomes[in_z], results[in_z])


def test_a_register_keeps_its_photons_apart():
    bits = np.random.default_rng(22).integers(0, 2, 50, dtype=np.uint8)
    register = exact.Register(bits, np.zeros(50, np.uint8), (0.0, 45.0), np.random.default_rng(23))
    some = np.array([40, 3, 17])
    assert np.array_equal(register.measure(some, np.zeros(3, np.uint8), UNDISTURBED), bits[some])
    register.prepare_anew(some, 1 - bits[some], np.zeros(3, np.uint8))
    rest = register.measure(np.arange(50), np.zeros(50, np.uint8), UNDISTURBED)
    assert np.array_equal(rest[some], 1 - bits[some])
    assert np.array_equal(np.delete(rest, some), np.delete(bits, some))
