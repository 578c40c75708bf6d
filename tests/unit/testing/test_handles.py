"""What a test says to a running network: faults that add up, and values that can be sent."""

import pytest

from qkd_lab.testing import LabError, Link
from qkd_lab.testing.handles import Faults


class Operator:
    def __init__(self):
        self.told = []

    def call(self, process, method, path, json=None):
        if "unknown" in json:
            raise LabError("no fault knob unknown")
        self.told.append((process, json))


@pytest.fixture
def operator():
    return Operator()


def test_faults_of_one_kme_add_up_and_each_ends_for_itself(operator):
    faults = Faults("kme-a", operator)
    with faults.switch_on({"refuse_percentage": 100}) as first:
        with faults.switch_on({"delay_s": 0.2, "refuse_percentage": 50}):
            assert operator.told[-1] == ("kme-a", {"refuse_percentage": 50, "delay_s": 0.2})
        assert operator.told[-1] == ("kme-a", {"refuse_percentage": 100})
        faults.switch_on({"delay_s": 1})
        first.clear()
        assert operator.told[-1] == ("kme-a", {"delay_s": 1})
    faults.switch_on({})
    assert operator.told[-1] == ("kme-a", {})


def test_a_fault_that_was_refused_is_not_among_those_that_are_on(operator):
    faults = Faults("kme-a", operator)
    with pytest.raises(LabError):
        faults.switch_on({"unknown": 1})
    faults.switch_on({"delay_s": 1})
    assert operator.told == [("kme-a", {"delay_s": 1})]


@pytest.mark.parametrize("value", [b"x", {1}, float("nan"), float("inf"), None, object()])
def test_a_value_that_can_t_be_sent_is_named(operator, value):
    for said in (
        lambda: Link("a-b", operator, {}).set(loss_db=value),
        lambda: Faults("a", operator).switch_on({"loss_db": value}),
    ):
        with pytest.raises(LabError, match="loss_db: expected a text, a number, True or False, got"):
            said()
    assert not operator.told
