"""The protocol between two KMEs (docs/batch-protocol.md) under every fault, in any order: Hypothesis looks for a
history of operations and faults that breaks one of the design's invariants 1-5 and 7.

With `--long` it looks for longer, and anew each time; a failure prints the shortest history that was found.
"""

from __future__ import annotations

from collections import Counter

import psycopg2
import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protocol_faults import KINDS, Fault
from protocol_world import KMES, PATHS, World

REQUEST_CALLS = 12
NUMBERS = range(6)
ASKED = ((1, 256, 0), (2, 128, 0), (2, 256, 2))  # number, size in bits, how many are named beside the slave
REQUESTS = [("enc_keys", path, *asked) for path in range(len(PATHS)) for asked in ASKED]
# Weighted by how often each is here: flat, so that every one has its chance in a short search.
OPERATIONS = [
    *[("tick", kme_id) for kme_id in KMES] * 5,
    *REQUESTS * 2,
    *[("late", number) for number in NUMBERS] * 2,
    *[("dec_keys", number) for number in NUMBERS],
    *[("hand_over", kme_id) for kme_id in KMES],
    *[("wait", seconds) for seconds in (1, 35, 70, 350, 700)],
    *[("restart", kme_id) for kme_id in KMES],
    *[("restart_store", kme_id) for kme_id in KMES],
    *[("steal", number, thief) for number in (0, 1) for thief in range(5)],
    *[("forge", number, what) for number in (0, 3) for what in ("overlap", "known key")],
    *[("offer_again", kme_id, 0) for kme_id in KMES],
    *[(change, path) for change in ("remove", "register", "register") for path in range(len(PATHS))],
]
operations = st.sampled_from(OPERATIONS)
# A request makes about ten calls, a step of the scheduler up to a hundred, and its first ten are the witness's.
calls = st.sampled_from([*range(1, 24), *range(1, 24), *range(24, 60)])
faults = st.builds(Fault, calls, st.sampled_from(KINDS), operations)
steps = st.tuples(operations, st.lists(faults, min_size=1, max_size=3).map(tuple))


@pytest.fixture
def quick_stores(databases, redis_urls):
    """Crashes here are those of KMEs: what a store has answered is there, without waiting for its disk."""
    for dsn in databases.values():
        _alter(dsn, "SET synchronous_commit = off")
    with redis.Redis.from_url(redis_urls["kme-a"]) as client:
        client.config_set("appendfsync", "no")
        yield
        client.config_set("appendfsync", "always")
    for dsn in databases.values():
        _alter(dsn, "RESET synchronous_commit")


def _alter(dsn: str, change: str) -> None:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as sql:
        sql.execute(f"ALTER DATABASE {connection.info.dbname} {change}")
    connection.close()


def started(make_site) -> World:
    """With a block of each KME at both, and full pools; before that each confirms the other's witness."""
    world = World(make_site)
    for operation in ("tick", "tick", "tick", "hand_over", "tick"):
        for kme_id in KMES:
            world.run((operation, kme_id))
    return world


def test_no_history_of_faults_breaks_an_invariant(quick_stores, empty_stores, make_site, pytestconfig, figure):
    is_long = pytestconfig.getoption("--long")
    seen: Counter[str] = Counter()

    @settings(
        max_examples=2_000 if is_long else 25,
        deadline=None,
        derandomize=not is_long,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(history=st.lists(steps, min_size=10, max_size=20))
    def explore(history):
        empty_stores()
        world = started(make_site)
        try:
            for operation, its_faults in history:
                world.run(operation, its_faults)
                world.check()
            world.heal()
            world.check()
        finally:
            world.end()
            seen.update(world.strikes.seen + world.facts.counts() + Counter(histories=1))

    explore()
    figure(
        f"protocol of two KMEs: {seen['histories']} histories, {sum(seen[kind] for kind in KINDS)} faults,"
        f" {seen['batches']} batches, {seen['given']} keys given to masters, {seen['fetched']} fetched"
    )
    # It was a search worth its time.
    assert seen["given"] > 30 and seen["fetched"] > 30
    assert all(seen[kind] for kind in (*KINDS, "cut again"))


@pytest.mark.parametrize("path", range(len(PATHS)))
def test_every_call_of_a_request_may_be_cut_off_in_every_way(quick_stores, make_site, path):
    """One after the other in the same network, which has to recover from each to serve the next."""
    world = started(make_site)
    for kind in KINDS[:-1]:
        for call in range(1, REQUEST_CALLS + 1):
            named_count, size_bits = (len(PATHS[path][2]), 256) if call % 2 else (0, 128)
            world.run(("enc_keys", path, 2, size_bits, named_count), (Fault(call, kind),))
            world.check()
            if call % 4 == 0:
                world.heal()
    world.heal()
    world.check()
    assert world.facts.counts()["given"] > REQUEST_CALLS
    world.end()
