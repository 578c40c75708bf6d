"""The scheduler's threads do not rest when what they wait for has come: what they wait for is not the next tick."""

import threading

from kme.audit import AT_ONCE
from kme.pace import Pace
from kme.scheduler import Chore, Scheduler

LONG_S = 600.0  # much longer than a test may take


class Office:
    """Of a scheduler that is in office from the second time on that it asks, as where another has just resigned."""

    def __init__(self) -> None:
        self.term = None
        self.asked = threading.Event()

    def hold(self) -> bool:
        self.term = 1 if self.asked.is_set() else None
        self.asked.set()
        return self.term is not None

    def resign(self) -> None:
        self.term = None


class Audit:
    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting
        self.is_drained = threading.Event()

    def drain(self) -> int:
        drained = min(AT_ONCE, self.waiting)
        self.waiting -= drained
        if not self.waiting:
            self.is_drained.set()
        return drained


def test_what_happens_during_a_step_is_not_missed():
    pace = Pace(LONG_S)
    seen = pace.news
    pace.hurry()
    pace.rest(seen)


def test_a_rest_is_over_when_there_is_news():
    pace = Pace(LONG_S)
    rested = threading.Event()
    thread = threading.Thread(target=lambda seen: (pace.rest(seen), rested.set()), args=(pace.news,))
    thread.start()
    assert not rested.is_set()
    pace.hurry()
    assert rested.wait(10)
    thread.join()


def test_once_in_office_and_compared_everything_begins_at_once():
    stop, worked, pace = threading.Event(), threading.Event(), Pace(LONG_S)
    office = Office()
    scheduler = Scheduler(
        [], Audit(), lambda: None, lambda: None, pace,
        first=Chore("first", lambda: None), chores=[Chore("work", worked.set)], leadership=office,
    )  # fmt: skip
    running = threading.Thread(target=scheduler.run, args=(stop,))
    running.start()
    assert office.asked.wait(10)
    pace.hurry()  # the next tick: now it takes office
    assert worked.wait(10)
    stop.set()
    pace.hurry()
    running.join(10)
    assert not running.is_alive()


def test_there_is_no_rest_as_long_as_the_audit_trail_has_more_than_is_drained_at_once():
    stop, pace, audit = threading.Event(), Pace(LONG_S), Audit(4 * AT_ONCE + 1)
    scheduler = Scheduler([], audit, lambda: None, lambda: None, pace)
    running = threading.Thread(target=scheduler.run, args=(stop,))
    running.start()
    assert audit.is_drained.wait(10)
    stop.set()
    pace.hurry()
    running.join(10)
    assert not running.is_alive()
