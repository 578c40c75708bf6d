"""Nothing lost, nothing twice, and back within 30 s by itself: whatever is killed, paused, cut off or garbled.

The clients go on all the time, over every fault. The history is checked at the end, when everything has healed.
"""

from __future__ import annotations

import os
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clients import EASY_PAUSE_S, PAUSE_S, Direction
from faults import SEED, Fault, every, some_together
from history import MASTER, OK, SLAVE, delivered_keys, deliveries, now_s, violations
from running_lab import eventually

# What requests keeps of a connection that was cut off is only closed when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

BACK_WITHIN_S = 30
# How much the clients try during a fault, before it ends; and no longer than that where they all hang.
OPERATIONS_UNDER_FAULT, LONGEST_FAULT_S = 30, 4
DRAINED_KEYS = 30
KEY_BITS = 256
LONG_S = 3_600


@pytest.mark.parametrize("fault", every() + some_together(random.Random(SEED), 8), ids=lambda fault: fault.name)
def test_service_is_back_within_30_s_of(lab, report, fault):
    survive(lab, report, fault)


def test_service_is_back_after_each_of_an_hours_faults(lab, report, pytestconfig):
    if not pytestconfig.getoption("--long"):
        pytest.skip("an hour of faults: with --long")
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance, until_s = random.Random(seed), now_s() + LONG_S
    while now_s() < until_s:
        (fault,) = some_together(chance, 1, sizes=(1, 1, 2, 2, 3))
        print(fault.name)
        survive(lab, report, fault)


def test_no_key_was_lost_or_came_twice(lab, report):
    for direction in lab.directions:
        direction.stop()
    operations = lab.history.snapshot()
    found = violations(operations)
    kinds = Counter(one.kind for one in found)
    report.deliveries_checked += deliveries(operations)
    report.keys_lost += kinds["lost"] + kinds["unanswered"]
    report.keys_delivered_twice += kinds["twice"] + kinds["reused"]
    report.server_errors += kinds["server error"]
    assert found == []
    assert deliveries(operations) > 10 * report.faults
    # Each got its refusal, or the history would have said so.
    assert any(one.sae.startswith("intruder") for one in operations)
    for site in "ab":
        eventually(lambda site=site: adds_up(lab, site, operations), f"site {site}'s account and the history agree", 30)


def survive(lab, report, fault: Fault) -> None:
    """Brings a fault about while the clients go on, ends it, and sees that all is well again in time."""
    report.faults += 1
    before, said = len(lab.history.snapshot()), lab.said()
    struck_s = now_s()
    fault.begin(lab)
    try:
        eventually(Later(lambda: len(lab.history.snapshot()) >= before + OPERATIONS_UNDER_FAULT), "operations", 60)
    finally:
        if fault.end:
            fault.end(lab)
    ended_s = now_s() if fault.end else struck_s
    heals = partial(heals_in_time, lab, fault, ended_s, said)
    # Served from what is stored is one thing; that key is made again, from pulses to pools, is another.
    blocks = lab.block_ids()
    heals("all four clients are served", lambda: is_served(lab, ended_s))
    heals("every process is ready", lambda: is_ready(lab))
    with at_ease(lab.directions):
        heals("a new block", lambda: drain(lab) and lab.block_ids() - blocks)
        heals("pools are filled", lab.are_pools_filled)
    report.recovered_s.append(now_s() - ended_s)


def heals_in_time(
    lab, fault: Fault, ended_s: float, said: dict[Path, int], what: str, is_so: Callable[[], Any]
) -> None:
    try:
        eventually(is_so, f"{what} after: {fault.name} ({circumstances(lab)})", ended_s + BACK_WITHIN_S - now_s())
    except AssertionError:
        print(lab.said_since(said))
        raise


@contextmanager
def at_ease(directions: Sequence[Direction]) -> Iterator[None]:
    """Their clients go on, with longer pauses."""
    try:
        for one in directions:
            one.pause_s = EASY_PAUSE_S
        yield
    finally:
        for one in directions:
            one.pause_s = PAUSE_S


class Later:
    """A condition that also holds after LONGEST_FAULT_S: a fault in which every client hangs has to end, too."""

    def __init__(self, condition) -> None:
        self._condition, self._until_s = condition, now_s() + LONGEST_FAULT_S

    def __call__(self) -> bool:
        return self._condition() or now_s() > self._until_s


def circumstances(lab) -> str:
    """To tell a lab that does not recover from a machine that has other things to do."""
    usual = [one.answered_s - one.invoked_s for one in lab.history.snapshot() if one.outcome == OK]
    request = f"{statistics.median(usual) * 1000:.0f} ms" if usual else "for ever"
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, a request that succeeds takes {request}"


def is_served(lab, since_s: float) -> bool:
    return all(
        lab.history.succeeded_since(role, sae, since_s)
        for one in lab.directions
        for role, sae in ((MASTER, one.master), (SLAVE, one.slave))
    )


def is_ready(lab) -> bool:
    return all(one["state"] == "ready" for one in lab.state()["processes"].values())


def drain(lab) -> bool:
    """Takes keys where there are many, so that new ones have to be made."""
    if lab.are_pools_filled():
        for direction in lab.directions:
            direction.take(DRAINED_KEYS)
    return True


def adds_up(lab, site: str, operations) -> bool:
    """Conservation, and that the KME has counted the deliveries that its SAEs saw, no more and no less."""
    account = lab.status(f"kme-{site}")["account"]
    least, most = delivered_keys(operations, {f"sae-{site}"})
    return account["balanced"] and least * KEY_BITS <= account["delivered_bits"] <= most * KEY_BITS
