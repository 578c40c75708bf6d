"""A frame that is shown: it is like any other, and of no round."""

import numpy as np
import pytest

from mutual_tls.app import CALLER
from mutual_tls.identity import Identity
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.sacrifice import SHOWN_PULSES, ImpossibleFrame, sacrificed_frame
from qkde.link.web import ops_app

TEXTS = ("bits", "alice_bases", "eve_bases", "eve_results", "bob_bases", "clicks", "outcomes", "sifted")


def frame(seed=1, basis=0.5, mean=None, **physics):
    return sacrificed_frame(LinkPhysics().changed(**physics), np.random.default_rng(seed), basis, mean)


def sifted(found):
    return [at for at in range(SHOWN_PULSES) if found["sifted"][at] == "1"]


def test_it_shows_64_pulses_in_every_row():
    found = frame()
    assert found["pulses"] == 64 and all(len(found[name]) == 64 for name in TEXTS)


def test_what_is_sifted_clicked_in_the_same_basis_and_without_noise_agrees():
    found = frame(loss_db=3)
    for at in range(SHOWN_PULSES):
        same = found["alice_bases"][at] == found["bob_bases"][at]
        assert (found["sifted"][at] == "1") == (same and found["clicks"][at] == "1")
        assert (found["outcomes"][at] == "·") == (found["clicks"][at] == "0")
    assert 0 < len(sifted(found)) < 40
    assert all(found["bits"][at] == found["outcomes"][at] for at in sifted(found))
    assert set(found["eve_bases"]) == {"·"}


def test_eve_is_shown_where_she_measured_and_makes_errors_where_she_guessed_wrong():
    frames = [frame(seed, eve="intercept-resend:1") for seed in range(12)]
    wrong = right = 0
    for found in frames:
        assert "·" not in found["eve_bases"] + found["eve_results"]
        for at in sifted(found):
            if found["eve_bases"][at] == found["alice_bases"][at]:
                assert found["bits"][at] == found["outcomes"][at] == found["eve_results"][at]
            elif found["bits"][at] == found["outcomes"][at]:
                right += 1
            else:
                wrong += 1
    # Half of some 190 are wrong: within 5 sigma.
    assert abs(wrong - right) < 5 * (wrong + right) ** 0.5


def test_the_basis_is_as_likely_as_it_was_told():
    assert set(frame(basis=1.0)["alice_bases"]) == {"Z"} and set(frame(basis=0.0)["bob_bases"]) == {"X"}


def test_weak_light_seldom_clicks():
    assert frame(mean=0.0)["clicks"] == "0" * 64
    assert 0 < frame(mean=0.5)["clicks"].count("1") < 50


@pytest.mark.parametrize(("basis", "mean"), [(1.5, None), ("1", None), (True, None), (float("nan"), None), (0.5, -1)])
def test_an_impossible_frame_is_refused_by_name(basis, mean):
    with pytest.raises(ImpossibleFrame, match="key_basis_probability is|mean_photon_number is"):
        frame(basis=basis, mean=mean)


def test_neither_rounds_nor_frames_of_the_link_know_of_it():
    link = QuantumLink("a-b", LinkPhysics(loss_db=1.0))
    client, before = ops_app(link).test_client(), link.measured

    def post(body, role="operator"):
        return client.post("/v1/sacrificed-frame", json=body, environ_overrides={CALLER: Identity(role, "x")})

    answer = post({"key_basis_probability": 0.9})
    assert answer.status_code == 200 and answer.json["link"] == "a-b" and answer.json["physics"]["loss_db"] == 1.0
    assert link.rounds() == [] and link.measured == before
    assert post({"seed": 1}).status_code == 400
    assert post({"key_basis_probability": None}).status_code == 400
    assert post({}, role="probe").status_code == post({}, role="qkde").status_code == 401
