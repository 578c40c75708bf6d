"""The checker finds what it is there for."""

import pytest

from history import FAILED, OK, UNKNOWN, Operation, violations


def master(*keys, sae="sae-a", outcome=OK, status=200):
    return Operation("master", sae, "sae-b", 0, 1, outcome, status, keys=keys)


def slave(*keys, sae="sae-b", other="sae-a", outcome=OK, status=200):
    return Operation("slave", sae, other, 0, 1, outcome, status, keys=keys)


def test_a_history_in_which_all_is_well_has_no_violation():
    history = [
        master(("1", "x"), ("2", "y")),
        slave(("1", "x")),
        slave(("2", ""), outcome=UNKNOWN, status=None),
        slave(("2", ""), outcome=FAILED, status=400),
    ]
    assert violations(history) == []


@pytest.mark.parametrize(
    ("history", "named"),
    [
        ([master(("1", "x")), master(("1", "x")), slave(("1", "x"))], "2 times to its master"),
        ([master(("1", "x")), slave(("1", "x")), slave(("1", "x"))], "2 times to its slave"),
        ([master(("1", "x")), slave(("1", "y"))], "not the same"),
        ([master(("1", "x")), slave(("1", ""), outcome=FAILED, status=400)], "lost to its slave"),
        ([master(("1", "x"))], "lost to its slave"),
        ([master(("1", "x")), slave(("1", "x")), master(("2", "x")), slave(("2", "x"))], "bits of 2 keys"),
        ([master(("1", "x")), slave(("1", "x"), sae="sae-c")], "was given to sae-c"),
        ([master(outcome=FAILED, status=500)], "server error 500"),
    ],
)
def test_a_violation_is_named(history, named):
    (found,) = violations(history)
    assert named in found
