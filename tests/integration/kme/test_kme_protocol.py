"""The protocol between two KMEs (docs/batch-protocol.md) under every fault, in any order: Hypothesis looks for a history of
operations and faults that breaks one of the design's invariants 1-5 and 7.

`--hypothesis-profile=long` looks for longer; a failure prints the shortest history that was found.
"""

from __future__ import annotations

import psycopg2
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol_world import KINDS, KMES, PATHS, Fault, World

small = st.integers(0, 9)
kmes = st.sampled_from(KMES)
paths = st.integers(0, len(PATHS) - 1)
ticks = st.tuples(st.just("tick"), kmes)
requests = st.tuples(
    st.just("enc_keys"), paths, st.integers(1, 3), st.sampled_from([256, 256, 128]), st.integers(0, 2)
)
late = st.tuples(st.just("late"), small)
operations = st.one_of(
    ticks,
    ticks,
    requests,
    requests,
    late,
    late,
    st.tuples(st.just("dec_keys"), small),
    st.tuples(st.just("hand_over"), kmes),
    st.tuples(st.just("wait"), st.sampled_from([1, 35, 70, 200, 700])),
    st.tuples(st.just("restart"), kmes),
    st.tuples(st.just("steal"), small, small),
    st.tuples(st.just("offer_again"), kmes, small),
    st.tuples(st.sampled_from(["remove", "register"]), paths),
)
faults = st.builds(Fault, st.integers(1, 40), st.sampled_from(KINDS), operations)
steps = st.tuples(operations, st.lists(faults, max_size=3).map(tuple))


@pytest.fixture
def quick_stores(databases, redis_urls):
    """A crash here is that of a KME, not of a store: what the stores have answered is there without waiting for disks."""
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


# What every history begins with: a block of each KME at both, and pools that are being filled.
BEGINNING = [("tick", kme_id) for kme_id in KMES] + [("hand_over", kme_id) for kme_id in KMES]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
@given(history=st.lists(steps, min_size=4, max_size=24))
def test_no_history_of_faults_breaks_an_invariant(quick_stores, empty_stores, make_site, history):
    empty_stores()
    world = World(make_site)
    try:
        for operation in BEGINNING:
            world.run(operation)
        for operation, its_faults in history:
            world.run(operation, its_faults)
            world.check()
        world.heal()
        world.check()
    finally:
        world.end()
