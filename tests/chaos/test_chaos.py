"""Nothing lost, nothing twice, and back within 30 s by itself: whatever is killed, paused, cut off or garbled.

The clients go on all the time, over every fault. The history is checked once, at the end, when everything has healed.
"""

from __future__ import annotations

import statistics

import pytest

from faults import POOL_KEYS, SEED, every, some_together
from history import figures, now_s, violations
from running_lab import eventually

# What requests keeps of a connection that was cut off is only closed when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

BACK_WITHIN_S = 30
# How much the clients try during a fault, before it ends; and no longer than that where they all hang.
OPERATIONS_UNDER_FAULT, LONGEST_FAULT_S = 30, 4
LOW_WATERMARK = POOL_KEYS // 2

recovered_s: list[float] = []




@pytest.mark.parametrize("fault", every() + some_together(SEED, 6), ids=lambda fault: fault.name)
def test_service_is_back_within_30_s_of(lab, fault):
    before = len(lab.history.snapshot())
    fault.begin(lab)
    try:
        eventually(Later(lambda: len(lab.history.snapshot()) >= before + OPERATIONS_UNDER_FAULT), "operations", 60)
    finally:
        fault.end(lab)
    healed_s = now_s()
    blocks = block_ids(lab)
    for direction in lab.directions:
        sae, other = direction.master, direction.slave
        for role, who in (("master", sae), ("slave", other)):
            eventually(
                lambda role=role, who=who: lab.history.succeeded_since(role, who, healed_s),
                f"{who} as {role} is served again",
                within_s=left(healed_s),
            )
    recovered_s.append(now_s() - healed_s)
    # Served from what is stored is one thing; that key is made again, from pulses to pools, is another.
    eventually(lambda: drain(lab) and block_ids(lab) - blocks, "a new block")
    eventually(lambda: refilled(lab), "pools filled again")


def test_no_key_was_lost_or_came_twice(lab, figure):
    for direction in lab.directions:
        direction.stop()
    operations = lab.history.snapshot()
    assert violations(operations) == []
    told = figures(operations)
    assert told["deliveries"] > 1000
    for kme in ("kme-a", "kme-b"):
        eventually(lambda kme=kme: account(lab, kme)["balanced"], f"a balanced account at {kme}")
    figure(
        f"chaos: {len(recovered_s)} faults survived, {told['operations']} operations, {told['deliveries']} deliveries "
        f"checked, 0 keys lost, 0 delivered twice, {told['server_errors']} server errors; back in "
        f"{statistics.median(recovered_s):.1f} s (median), {max(recovered_s):.1f} s (worst)"
    )


class Later:
    """A condition that also holds after LONGEST_FAULT_S: a fault in which every client hangs has to end, too."""

    def __init__(self, condition) -> None:
        self._condition, self._until_s = condition, now_s() + LONGEST_FAULT_S

    def __call__(self) -> bool:
        return self._condition() or now_s() > self._until_s


def left(healed_s: float) -> float:
    return max(0.0, BACK_WITHIN_S - (now_s() - healed_s))


def drain(lab) -> bool:
    """Takes keys, so that new ones have to be made."""
    for direction in lab.directions:
        direction.take(128)
    return True


def refilled(lab) -> bool:
    try:
        return all(
            lab.stored_key_count(one.master, one.slave, f"kme-{one.master[-1]}") >= LOW_WATERMARK
            for one in lab.directions
        )
    except OSError:
        return False


def status(lab, kme: str) -> dict:
    with lab.as_operator() as operator:
        return operator.get(f"{lab.endpoint(f'{kme}.ops')}/v1/status", timeout=5).json()


def account(lab, kme: str) -> dict:
    return status(lab, kme)["account"]


def block_ids(lab) -> set[str]:
    """Of the rounds that gave a key, as far as the KMEs remember."""
    found = set()
    for kme in ("kme-a", "kme-b"):
        try:
            links = status(lab, kme).get("links", [])
        except (OSError, ValueError):
            continue
        found |= {one["block_id"] for link in links for one in link["last_reports"] if one["outcome"] == "key"}
    return found
