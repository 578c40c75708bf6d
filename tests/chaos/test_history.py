"""The checker finds what it is there for."""

import pytest

from history import FAILED, OK, UNKNOWN, Operation, delivered_keys, violations


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


def test_a_site_has_delivered_what_its_saes_saw_and_what_nobody_else_can_have():
    history = [
        master(("1", "x"), ("2", "y")),
        Operation("master", "sae-a", "sae-b", 2, 3, UNKNOWN, 503, count=3),
        slave(("1", "x")),
        slave(("1", ""), outcome=FAILED, status=400),
        slave(("2", ""), outcome=UNKNOWN, status=None),
        slave(("2", ""), outcome=FAILED, status=400),
        slave(("3", ""), outcome=FAILED, status=400),
    ]
    assert delivered_keys(history, {"sae-a"}) == (2, 5)
    assert delivered_keys(history, {"sae-b"}) == (2, 2)


@pytest.mark.parametrize(
    ("history", "named"),
    [
        ([master(("1", "x")), master(("1", "x")), slave(("1", "x"))], "2 times to its master"),
        ([master(("1", "x")), slave(("1", "x")), slave(("1", "x"))], "2 times to its slave"),
        ([master(("1", "x")), slave(("1", ""), outcome=UNKNOWN, status=503)], "has not got an answer"),
        (
            [master(("1", "x")), slave(("1", ""), outcome=FAILED), slave(("1", ""), outcome=UNKNOWN, status=503)],
            "lost to its slave",
        ),
        ([master(("1", "x")), slave(("1", "y"))], "not the same"),
        ([master(("1", "x")), slave(("1", ""), outcome=FAILED, status=400)], "lost to its slave"),
        ([master(("1", "x"))], "has not got an answer"),
        ([master(("1", "x")), slave(("1", "x")), master(("2", "x")), slave(("2", "x"))], "bits of 2 keys"),
        ([master(("1", "x")), slave(("1", "x")), slave(("1", "x"), sae="sae-c")], "several pairs"),
        ([master(outcome=FAILED, status=500)], "500 for sae-a"),
    ],
)
def test_a_violation_is_named(history, named):
    (found,) = violations(history)
    assert named in found.message
