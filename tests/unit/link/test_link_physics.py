import math
import subprocess
import sys

import pytest

from qkde.link.eve import InterceptResend, NoEve, attack_from_text
from qkde.link.physics import ImpossiblePhysics, LinkPhysics


def test_a_link_without_settings_is_perfect():
    physics = LinkPhysics()
    assert (physics.transmittance, physics.depolarizing, physics.eve) == (1.0, 0.0, NoEve())


def test_ten_decibels_let_a_tenth_of_the_photons_through():
    assert LinkPhysics(loss_db=10).transmittance == pytest.approx(0.1)


def test_changed_settings_leave_the_others_and_the_original_alone():
    before = LinkPhysics(loss_db=3, depolarizing=0.02)
    after = before.changed(eve="intercept-resend:0.3")
    assert after == LinkPhysics(loss_db=3, depolarizing=0.02, eve=InterceptResend(0.3))
    assert before.eve == NoEve()


@pytest.mark.parametrize("eve", ["none", "intercept-resend:0", "intercept-resend:0.3", "intercept-resend:1"])
def test_settings_written_as_plain_values_can_be_read_back(eve):
    physics = LinkPhysics(loss_db=1.5, depolarizing=0.25).changed(eve=eve)
    assert physics.settings() == {"loss_db": 1.5, "depolarizing": 0.25, "eve": eve}
    assert LinkPhysics().changed(**physics.settings()) == physics


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.1", None, True])
def test_an_impossible_depolarizing_is_refused_with_its_name_and_range(value):
    with pytest.raises(ImpossiblePhysics, match="depolarizing is .*: expected a probability from 0 to 1"):
        LinkPhysics().changed(depolarizing=value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e300, 10**400, "3 dB", [], False])
def test_an_impossible_loss_is_refused_with_its_name_and_range(value):
    with pytest.raises(ImpossiblePhysics, match="loss_db is .*: expected a loss in dB from 0 to 1000"):
        LinkPhysics().changed(loss_db=value)


@pytest.mark.parametrize(
    "eve", ["", "nobody", "none:1", "intercept-resend", "intercept-resend:", "intercept-resend:x",
            "intercept-resend:1.1", "intercept-resend:-0.1", "intercept-resend:nan", 1, None]
)  # fmt: skip
def test_an_unknown_eve_is_refused(eve):
    with pytest.raises(ImpossiblePhysics, match="eve"):
        LinkPhysics().changed(eve=eve)


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ImpossiblePhysics, match="no setting depolarising: expected some of loss_db, depolarizing, eve"):
        LinkPhysics().changed(depolarising=0.1)


def test_an_attack_says_itself_in_the_text_that_makes_it():
    assert str(attack_from_text("intercept-resend:0.125")) == "intercept-resend:0.125"


def test_neither_the_parameters_nor_the_client_load_qiskit():
    program = "import sys, qkde.link.physics, qkde.link.eve, qkde.link.client; sys.exit('qiskit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
