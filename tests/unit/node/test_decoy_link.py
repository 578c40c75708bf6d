"""Weak coherent pulses with decoys between the lab's processes: both QKDEs and the quantum link's own application."""

import math
import threading
import uuid

import numpy as np
import pytest
from app_peer import AppPeer

from mutual_tls.client import Refused
from qkde.bb84.alice import Alice
from qkde.bb84.bits import pack
from qkde.bb84.errors import RoundFailed
from qkde.bb84.messages import (
    AnnounceDetections,
    AnnounceMatches,
    PrepareFrame,
    RoundStarted,
    StartRound,
    decode,
    encode,
)
from qkde.bb84.messages import Refused as RefusedByAlice
from qkde.bb84.pads import PadOffer
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.provenance import check, differences
from qkde.link.physics import LinkPhysics
from qkde.link.source import WeakCoherentPulses
from qkde.link.theory import expected
from qkde.node.web import classical_app

from two_qkdes import ALICE, BOB, WEAK, TwoQkdes, parameters_of

NOISY = {"misalignment": 0.02, "loss_db": 1.0, "dark_count_probability": 1e-3}
SOURCE = WeakCoherentPulses(
    signal_intensity=0.6, decoy_intensity=0.2, signal_probability=0.5, decoy_probability=0.4, vacuum_probability=0.1
)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    parameters = parameters_of(qber_tolerance=0.08, pulses_per_frame=800_000)
    ends = TwoQkdes(tmp_path_factory.mktemp("honest"), parameters, NOISY)
    return ends, ends.run()


def within_3_sigma(count, trials, probability):
    return abs(count - trials * probability) <= 3 * math.sqrt(trials * probability * (1 - probability))


def test_a_round_gives_both_kmes_the_same_block(honest):
    ends, report = honest
    assert report["outcome"] == "key", report["abort_reason"]
    (a,), (b,) = (kme.blocks for kme in ends.kmes)
    assert a == b and 8 * len(a) == report["block_bits"] > 1_000
    assert report["parameters"]["source"] == "weak-coherent"


def test_both_ends_have_the_same_record_and_its_length_follows(honest):
    ends, report = honest
    (alice,) = ends.alice.reports
    assert check(report["provenance"]) == check(alice["provenance"]) == []
    assert differences(report["provenance"], alice["provenance"]) == []
    assert alice["counts"] == report["counts"]


def test_gains_and_error_rates_of_every_intensity_are_those_of_theory(honest):
    _, report = honest
    physics, pulses, p = LinkPhysics().changed(**NOISY), report["pulses"], WEAK["key_basis_probability"]
    for basis, name, share in ((0, "key", p**2), (1, "test", (1 - p) ** 2)):
        theory = expected(physics, SOURCE, basis)
        for i, (point, often) in enumerate(zip(theory, SOURCE.probabilities, strict=True)):
            detected, errors = (report["counts"][f"{name}_{kind}"][i] for kind in ("detected", "errors"))
            assert within_3_sigma(detected, pulses, often * share * point.gain)
            assert within_3_sigma(errors, detected, point.error_rate)
    assert report["counts"]["key_detected"][2] > 10, "dark counts alone, on vacuum pulses"


def test_an_eve_who_splits_photon_numbers_takes_the_key_away(tmp_path):
    """Over a lossy fibre she can block single photons: no errors, but the decoys' gain is wrong."""
    parameters = parameters_of(pulses_per_frame=1_500_000)
    honest = TwoQkdes(tmp_path / "honest", parameters, {"loss_db": 6.0, "misalignment": 0.01})
    attacked = TwoQkdes(
        tmp_path / "attacked", parameters, {"loss_db": 6.0, "misalignment": 0.01, "eve": "photon-number-splitting"}
    )
    good, bad = honest.run(), attacked.run()
    assert good["outcome"] == "key", good["abort_reason"]
    assert bad["outcome"] == "aborted" and "no secret bits are left" in bad["abort_reason"]
    assert bad["qber_test"] < 2 * good["qber_test"], "the errors alone would not have told"
    assert attacked.kmes[0].blocks == attacked.kmes[1].blocks == []
    of_decoys = [report["counts"]["test_detected"][1] for report in (good, bad)]
    assert of_decoys[1] < 0.8 * of_decoys[0]


@pytest.mark.parametrize("plane", [0, 1])
def test_an_altered_intensity_makes_authentication_fail(tmp_path, plane):
    altered = []

    def on_the_way(octets):
        message = decode(octets)
        if not isinstance(message, AnnounceMatches) or altered:
            return octets
        planes = np.unpackbits(np.frombuffer(message.intensities, np.uint8)).reshape(2, -1)
        place = np.flatnonzero(planes.sum(axis=0) == (1 if plane else 0))[0]
        planes[:, place] = (0, 0) if plane else (1, 0)  # a decoy or vacuum becomes a signal, or a signal a decoy
        altered.append(place)
        return encode(AnnounceMatches(message.frame, message.matches, np.packbits(planes).tobytes()))

    ends = TwoQkdes(tmp_path, parameters_of(), NOISY | {"dark_count_probability": 0.0}, on_the_way=on_the_way)
    report = ends.run()
    assert altered and report["outcome"] == "aborted"
    assert "authentication failed" in report["abort_reason"]
    assert ends.kmes[0].blocks == ends.kmes[1].blocks == []


def test_no_intensity_is_announced_before_the_link_has_closed_the_frame(tmp_path):
    """A forged mask, with everything clicked, before Bob has measured."""
    parameters = parameters_of(pulses_per_frame=64, frame_count=1)
    ends = TwoQkdes(tmp_path, parameters, {})
    alice, block_id = AppPeer(classical_app(ends.alice), BOB, ALICE), str(uuid.UUID(int=9))

    def ask(message):
        return decode(alice.request("POST", "/v1/links/a-b/messages", octets=encode(message)).octets)

    offer = ends.bob.bob_or_alice.pads.state().offer
    order = StartRound(block_id, "a-b", "kme-b", RoundParameters(**parameters), PadOffer(offer.key_id, 0, offer.end))
    assert isinstance(ask(order), RoundStarted)
    ask(PrepareFrame(0))
    answer = ask(AnnounceDetections(0, pack(np.ones(64, bool)), pack(np.zeros(64, bool))))
    assert isinstance(answer, RefusedByAlice) and "has not been measured: its bases stay secret" in answer.reason


def test_ends_that_are_set_to_other_intensities_make_no_round(tmp_path):
    ends = TwoQkdes(tmp_path, parameters_of(), {})
    alice = AppPeer(classical_app(ends.alice), BOB, ALICE)
    others = RoundParameters(**parameters_of(intensities=(0.6, 0.1, 0.0)))
    order = StartRound(str(uuid.UUID(int=9)), "a-b", "kme-b", others)
    with pytest.raises(Refused, match="different round parameters"):
        alice.request("POST", "/v1/links/a-b/messages", octets=encode(order))


def test_eve_sees_photon_numbers_and_no_intensity(tmp_path, monkeypatch):
    """Whatever reaches her tap has no more attributes than a link of single photons gives it."""
    seen = []

    class Watcher:
        name = "watcher"

        def on(self, tap, nature):
            from qkde.link.tap import nothing

            seen.append({name: getattr(tap, name) for name in tap.__slots__ if not name.startswith("_")})
            return nothing()

    ends = TwoQkdes(tmp_path, parameters_of(pulses_per_frame=50_000, frame_count=1), {})
    ends.link.change_physics(eve=Watcher())
    ends.run()
    (hers,) = seen
    assert set(hers) == {"photon_numbers", "fibre_transmittance", "detector_efficiency"}
    numbers = hers["photon_numbers"]
    mean = 0.5 * 0.6 + 0.4 * 0.2
    assert numbers.dtype == np.uint8 and abs(numbers.mean() - mean) < 3 * math.sqrt(0.6 / numbers.size)


def test_alices_host_lets_her_work_ahead_after_each_answer(tmp_path, monkeypatch):
    worked, complaints = threading.Semaphore(0), []

    def work_ahead(self):
        worked.release()
        raise RoundFailed("Bob is told when he asks")

    monkeypatch.setattr(Alice, "work_ahead", work_ahead)
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    TwoQkdes(tmp_path, parameters_of(pulses_per_frame=50_000), {}).run()
    for _ in range(1 + 2 * WEAK["frame_count"] + 1):  # the order, frames, the sample: then it depends on chance
        assert worked.acquire(timeout=10)
    assert not complaints
