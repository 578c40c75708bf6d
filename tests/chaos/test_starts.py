"""No process depends on another having been started before it, and no start hangs."""

from __future__ import annotations

import random
import statistics
import time

import pytest

from by_hand import ByHand, lab_by_hand
from faults import SEED
from running_lab import eventually

DATABASES = ("postgres-a", "redis-a", "postgres-b", "redis-b")
KMES = ("kme-a", "kme-a-scheduler", "kme-b", "kme-b-scheduler")
SITE_A, SITE_B = (
    (f"postgres-{site}", f"redis-{site}", f"kme-{site}", f"kme-{site}-scheduler", f"qkde-{site}") for site in "ab"
)
QUANTUM = ("qkde-a", "qkde-b", "qlink-a-b")
START_COUNT = 50
# A whole round and keys of it, after the last process was started: what takes longer hangs.
KEY_WITHIN_S = 30.0
KEYS = 60

# Each group is started when something of the one before has shown that it waits in vain: process, and words of its log.
ORDERS = {
    "KMEs first, databases last": [
        (KMES, ("kme-a-scheduler", "waiting: Postgres does not answer")),
        (QUANTUM, ("", "")),
        (DATABASES, ("", "")),
    ],
    "site b long before site a": [
        ((*SITE_B, "qlink-a-b"), ("kme-b-scheduler", "the witness can't be exchanged with kme-a")),
        (SITE_A, ("", "")),
    ],
    "the quantum link last": [
        ((*SITE_A, *SITE_B), ("kme-b-scheduler", "a round gave no key")),
        (("qlink-a-b",), ("", "")),
    ],
}


@pytest.fixture
def network(tmp_path):
    with lab_by_hand(tmp_path) as network:
        yield network


@pytest.mark.parametrize("order", ORDERS)
def test_keys_flow_whatever_was_started_first(network: ByHand, order):
    for names, (process, words) in ORDERS[order]:
        network.start(*names)
        network.wait_until_ready(*(name for name in names if name in DATABASES), within_s=60)
        if process:
            eventually(lambda process=process, words=words: words in network.lab.log(process), f"{process}: {words}")
    for master, slave in (("a", "b"), ("b", "a")):
        network.lab.wait_for_keys(1, f"sae-{master}", f"sae-{slave}", f"kme-{master}")
        (key,) = network.lab.enc_keys(f"sae-{master}", f"sae-{slave}", f"kme-{master}").json()["keys"]
        fetched = network.lab.dec_keys(f"sae-{slave}", f"sae-{master}", f"kme-{slave}", [key["key_ID"]])
        assert fetched.json() == {"keys": [key]}
    network.check_all_run()


def test_no_start_of_both_sides_hangs(network: ByHand, report, figure):
    """All but the databases, killed in the middle of what they do and started again in another order."""
    processes = [*KMES, *QUANTUM]
    chance = random.Random(SEED)
    network.start(*DATABASES)
    network.wait_until_ready(*DATABASES, within_s=60)
    took_s, blocks = [], set()
    for number in range(START_COUNT):
        chance.shuffle(processes)
        network.start(*processes)
        started_s = time.monotonic()
        what = f"start {number}, in the order {', '.join(processes)}: a finished round"
        blocks = eventually(lambda known=blocks: new_blocks(network, known), what, KEY_WITHIN_S)
        took_s.append(time.monotonic() - started_s)
        report.starts += 1
        network.kill(*processes)
    figure(
        f"{START_COUNT} starts of both sides: a finished round after {statistics.median(took_s):.1f} s (median), "
        f"{max(took_s):.1f} s (worst)"
    )


def new_blocks(network: ByHand, known: set[str]) -> set[str] | None:
    """All blocks, once there is one more than those known; keys are taken until then, so that one is needed."""
    network.check_all_run()
    try:
        for end, other in ("ab", "ba"):
            network.lab.enc_keys(f"sae-{end}", f"sae-{other}", f"kme-{end}", number=KEYS)
    except OSError:
        return None
    found = network.lab.block_ids()
    return known | found if found - known else None
