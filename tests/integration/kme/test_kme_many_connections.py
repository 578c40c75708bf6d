"""What many connections cost a KME that has nothing to do for them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from redis.connection import AbstractConnection

from kme.model import Connection
from kme.records import insert_connection
from qkd_lab.bench import picture

PORTION = 1_000  # registered in one transaction
MANY = 100


def register(network, first: int, end: int) -> None:
    """Connections of SAEs nobody has registered, each with a full pool of one made-up key."""
    a = network.a.entity
    for at in range(first, end, PORTION):
        made = [
            Connection("kme-a", "kme-b", f"master-{i}", f"slave-{i}", max_key_count=1, max_key_per_request=1)
            for i in range(at, min(end, at + PORTION))
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


def draw(found: list[dict[str, float]], path: Path) -> None:
    """`found`: processor time and round trips of a step, of each number of connections."""
    counts, spent_ms = ([one[name] for one in found] for name in ("connections", "cpu_ms"))
    # What a few connections add is less than what is measured of one differs.
    many = [(n, 1e3 * (ms - spent_ms[0]) / (n - 1)) for n, ms in zip(counts, spent_ms, strict=True) if n >= MANY]
    title = f"a step of a scheduler whose pools are full: {found[-1]['round_trips']} round trips to Redis"
    with picture.page(path, 1, title) as ((all_, each),):
        all_.plot(counts, spent_ms, "o-", color="black")
        all_.set(title="processor time of a step (ms)")
        each.plot(*zip(*many, strict=True), "o-", color="black")
        each.set(title="for each connection after the first (µs)")
        for panel in (all_, each):
            panel.set(xlabel="connections")
            picture.decades(panel, 1, 10_000)
        picture.log_y(all_)
        picture.from_zero(each)


def test_full_pools_cost_the_scheduler_the_same_round_trips_however_many_they_are(
    network, round_trips, request, figure, monkeypatch, tmp_path
):
    """With --long and `--figures FOLDER`, that is where `idle-connections.json` and the figure are written."""
    a, is_long = network.a, request.config.getoption("--long")
    read, reads = a.entity.records.connections, []
    monkeypatch.setattr(a.entity.records, "connections", lambda: reads.append(1) or read())
    # Every ten seconds they are read again, changed or not: these seconds do not go by.
    began_s = time.monotonic()
    monkeypatch.setattr(a.entity.catalogue, "_clock", lambda: began_s)
    network.step_until(lambda: a.entity.pool_count(a.entity.catalogue.between("sae-a", "sae-b")) == 20)

    def idle_step() -> tuple[int, float]:
        """Round trips, and processor milliseconds, of one step of the scheduler: of the least disturbed."""
        a.scheduler.step()
        a.scheduler.step()  # what is new has been looked at
        round_trips(), reads.clear()
        spent_s = []
        for _ in range(steps):
            before_s = time.process_time()
            a.scheduler.step()
            spent_s.append(time.process_time() - before_s)
        assert not reads, "connections were read again though none had changed"
        return round_trips() // steps, 1e3 * min(spent_s)

    steps, counts = (50, (1, 10, 100, 1_000, 10_000)) if is_long else (5, (1, 1_000))
    found, registered = [], 1  # one is that of sae-a and sae-b
    for count in counts:
        register(network, registered, count)
        registered = count
        trips, cpu_ms = idle_step()
        found.append({"connections": count, "cpu_ms": round(cpu_ms, 3), "round_trips": trips})
        figure(f"an idle step of the scheduler, {count:,} connections: {cpu_ms:.1f} ms, {trips} round trips")
    assert len({one["round_trips"] for one in found}) == 1
    folder = request.config.getoption("--figures") or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "idle-connections.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(found, folder / "idle-connections.png")
