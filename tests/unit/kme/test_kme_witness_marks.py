"""What makes a store look behind, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kme.errors import Unavailable
from kme.witness import FIRST, _behind, answer_in
from kme.witness_store import Known, Mark

A, B = "a" * 32, "b" * 32
marks = st.builds(Mark, st.integers(1, 3), st.sampled_from([A, B]), st.integers(0, 3))


def redis(epoch=1, store=A, count=5, acknowledged=None):
    return Known(Mark(epoch, store, count), None if acknowledged is None else Mark(epoch, store, acknowledged))


@pytest.mark.parametrize(
    ("store", "recorded"),
    [
        (redis(acknowledged=None), None),  # an epoch that has just begun
        (redis(acknowledged=None), Mark(1, A, 4)),  # recorded, and a crash before that was noted
        (redis(acknowledged=3), Mark(1, A, 3)),
        (redis(acknowledged=3), Mark(1, A, 5)),
        (redis(epoch=2, store=B, acknowledged=None), Mark(1, A, 9)),  # the new epoch is still to be recorded
    ],
)
def test_stores_that_are_well_are_not_behind(store, recorded):
    assert _behind(store, recorded, store) is None


@pytest.mark.parametrize(
    ("store", "recorded", "named"),
    [
        (Known(None), None, FIRST),
        (Known(None), Mark(1, A, 1), "Redis"),
        (redis(count=4, acknowledged=4), Mark(1, A, 5), "Redis"),
        (redis(epoch=1, acknowledged=5), Mark(2, B, 1), "Redis"),
        (redis(epoch=1, store=B, acknowledged=5), Mark(1, A, 5), "Redis"),
        (redis(acknowledged=5), Mark(1, A, 4), "Postgres"),
        (redis(acknowledged=5), None, "Postgres"),
        (redis(epoch=2, acknowledged=1), Mark(1, B, 9), "Postgres"),
    ],
)
def test_a_store_that_is_behind_is_named(store, recorded, named):
    assert named in _behind(store, recorded, store)


def test_postgres_that_is_compared_late_is_not_behind_what_was_acknowledged_since():
    """Read in this order: Redis, Postgres, Redis; another scheduler records in between."""
    assert _behind(redis(count=5, acknowledged=3), Mark(1, A, 3), redis(count=9, acknowledged=9)) is None


@given(marks, marks)
def test_of_two_marks_one_is_ahead_unless_they_are_the_same(one, other):
    assert (one.is_ahead_of(other) or other.is_ahead_of(one)) == (one != other)
    if one.epoch != other.epoch or one.store == other.store:
        assert not (one.is_ahead_of(other) and other.is_ahead_of(one))


@pytest.mark.parametrize("reply", [None, [], {}, {"epoch": 1, "store": A, "count": 1}, {"heard": 1}, "x"])
def test_an_answer_that_is_not_understood_changes_nothing(reply):
    with pytest.raises(Unavailable, match="not understood"):
        answer_in(reply)


def test_every_script_that_moves_bits_in_the_account_counts_its_act():
    scripts = {path.name: path.read_text() for path in (Path(__file__).parents[3] / "db" / "lua").glob("*.lua")}
    moving = {name for name, text in scripts.items() if "account" in text}
    assert len(moving) > 8
    assert [name for name in moving if "count_act()" not in scripts[name]] == []
