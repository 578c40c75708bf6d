"""What many connections cost a KME that has nothing to do for them."""

from __future__ import annotations

import time

import pytest
from redis.connection import AbstractConnection

from kme.model import Connection
from kme.records import insert_connection

PORTION = 1_000  # registered in one transaction
STEPS = 5


def registered(network, count: int) -> None:
    """Connections of SAEs nobody has registered, each with a full pool of one made-up key."""
    a = network.a.entity
    for first in range(0, count, PORTION):
        made = [
            Connection("kme-a", "kme-b", f"master-{i}", f"slave-{i}", max_key_count=1, max_key_per_request=1)
            for i in range(first, min(count, first + PORTION))
        ]
        pipeline = a.keystore._redis.pipeline()
        with a.database.transaction() as sql:
            for one in made:
                assert insert_connection(sql, one)
                pipeline.rpush(f"pool:{one.connection_id}:{one.key_size_bits}", b"a key")
        pipeline.execute()
    a.catalogue.changed()


@pytest.fixture
def round_trips(monkeypatch):
    """How often Redis was written to since the last call."""
    count = 0
    send = AbstractConnection.send_packed_command

    def counted(*arguments, **options):
        nonlocal count
        count += 1
        return send(*arguments, **options)

    def since() -> int:
        nonlocal count
        seen, count = count, 0
        return seen

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return since


def test_full_pools_cost_the_scheduler_the_same_round_trips_however_many_they_are(
    network, round_trips, request, figure, monkeypatch
):
    a = network.a
    read, reads = a.entity.records.connections, []
    monkeypatch.setattr(a.entity.records, "connections", lambda: reads.append(1) or read())
    network.step_until(lambda: a.entity.pool_count(a.entity.catalogue.between("sae-a", "sae-b")) == 20)

    def idle() -> tuple[int, float]:
        """Round trips, and processor seconds, of one step of the scheduler."""
        a.scheduler.step()
        a.scheduler.step()  # what is new has been looked at
        round_trips(), reads.clear()
        before_s = time.process_time()
        for _ in range(STEPS):
            a.scheduler.step()
        cpu_s = time.process_time() - before_s
        assert not reads, "connections were read again though none had changed"
        return round_trips() // STEPS, cpu_s / STEPS

    trips, cpu_s = idle()
    count = 10_000 if request.config.getoption("--long") else 1_000
    registered(network, count)
    trips_of_many, cpu_s_of_many = idle()
    assert trips_of_many == trips
    each_us = 1e6 * (cpu_s_of_many - cpu_s) / count
    figure(
        f"an idle step of the scheduler: {1e3 * cpu_s:.1f} ms, {each_us:.0f} µs more for each of {count:,} connections"
    )
