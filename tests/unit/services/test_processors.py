"""Workers that stay on one processor each."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from services import processors
from services.connections import ListenerConnection


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 6, 7})


@pytest.mark.parametrize(("worker_count", "expected"), [(4, [2, 3, 6, 7]), (8, [2, 3, 6, 7] * 2)])
def test_each_of_many_workers_has_its_place(four, worker_count, expected):
    taken = []
    for _ in range(worker_count):
        taken.append(processors.choose(worker_count, taken))
    assert taken == expected


@pytest.mark.parametrize("worker_count", [1, 3, 5, 6])
def test_where_not_each_processor_gets_as_many_the_kernel_moves_them(four, worker_count):
    assert processors.choose(worker_count, []) is None


def test_on_one_processor_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert processors.choose(2, []) is None


def test_one_more_takes_the_place_of_one_that_has_ended(four):
    assert processors.choose(4, [2, 3, 7]) == 6
    assert processors.choose(8, [2, 3, 6, 7, 2, 3, 7]) == 6


def test_those_that_stay_nowhere_take_no_place(four):
    assert processors.choose(4, [None, None]) == 2


@pytest.fixture
def moved(monkeypatch):
    """Runs what is given in a thread of its own, and tells where that might run then."""
    monkeypatch.setattr(processors, "_all", set())
    here = os.sched_getaffinity(0)

    def run(act):
        seen = []
        thread = threading.Thread(target=lambda: seen.append(act()))
        thread.start()
        thread.join()
        assert os.sched_getaffinity(0) == here, "another thread was moved"
        return seen[0]

    return run


def where() -> set[int]:
    return os.sched_getaffinity(0)


def test_a_thread_stays_and_goes_anywhere_for_a_while(moved):
    first, everywhere = min(where()), where()

    def act():
        with processors.anywhere():
            before = where()  # nobody was told to stay yet
        processors.stay(first)
        seen = [before, where()]
        with pytest.raises(ZeroDivisionError), processors.anywhere():
            seen.append(where())
            raise ZeroDivisionError
        return [*seen, where()]

    assert moved(act) == [everywhere, {first}, everywhere, {first}]


def test_a_handshake_is_done_anywhere(moved):
    everywhere, seen = where(), []
    conn = ListenerConnection.__new__(ListenerConnection)
    conn.sock = SimpleNamespace(do_handshake=lambda: seen.append(where()))

    def act():
        processors.stay(min(everywhere))
        conn._shake_hands()
        return where()

    assert moved(act) == {min(everywhere)}
    assert seen == [everywhere]


def test_a_thread_that_began_before_goes_back_where_it_was(moved):
    """Only the threads that a worker begins stay with it."""
    everywhere = where()
    moved(lambda: processors.stay(min(everywhere)))

    def act():
        with processors.anywhere():
            pass
        return where()

    assert moved(act) == everywhere


def test_a_processor_that_was_taken_away_is_no_error(moved):
    without = max(where()) + 1_000
    assert Path(f"/sys/devices/system/cpu/cpu{without}").exists() is False
    everywhere = where()

    def act():
        processors.stay(without)
        return where()

    assert moved(act) == everywhere
