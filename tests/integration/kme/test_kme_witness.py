"""The witness between stores that are well: crashes, lost messages and races never begin an epoch."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

import pytest
from restore_steps import (
    ENDS,
    Received,
    assert_service_is_back,
    epoch,
    epochs,
    exchange,
    give,
    step,
    take,
)

from kme.errors import Unavailable, Unconfirmed
from kme.model import Link
from kme.witness import Witness
from kme.witness_records import WitnessRecords
from kme.witness_store import Mark
from mutual_tls.identity import Identity

from kme_steps import Crash, assert_accounts, crash_in


@pytest.mark.parametrize("seed", [1, 2])
def test_lost_messages_restarts_and_cut_connections_begin_no_epoch(running, restarted, received, seed):
    draw = random.Random(seed)
    for _ in range(25):
        for master in ENDS:
            keys = take(running, received, master, draw.randint(1, 4))
            if isinstance(keys, list):
                give(running, received, keys, master)
        site = draw.choice((running.a, running.b))
        chosen = draw.random()
        if chosen < 0.4:
            next(iter(site.peers.values())).witness_faults = draw.choices(["lose", "refuse", ""], k=3)
        elif chosen < 0.6:
            restarted(site.kme_id)
        elif chosen < 0.8:
            with suppress(Unavailable):
                site.scheduler.step()
        step(running)
        assert epochs(running) == (1, 1)
    assert_service_is_back(running, received)
    assert epochs(running) == (1, 1)


def witness_of(site, clock=lambda: 0.0) -> Witness:
    """A scheduler's that does not know whether it is in office."""
    one = site.entity
    records = WitnessRecords(one.database, one.settings.kme_id)
    return Witness(one.settings, records, one.witness_store, one.catalogue, one.claim_store, clock)


def test_schedulers_and_workers_that_race_begin_no_epoch(running, received):
    """Several compare and tell at once while keys are delivered; none is fenced here."""
    witnesses = [(site, witness_of(site)) for site in (running.a, running.b) for _ in range(2)]

    def look(job):
        site, witness = job
        for _ in range(20):
            with suppress(Unavailable):
                witness.compare()
            for kme_id, peer in site.peers.items():
                witness.exchange(kme_id, peer)

    def deliver(master):
        return [take(running, Received(), master) for _ in range(15)]

    with ThreadPoolExecutor(6) as pool:
        looking = [pool.submit(look, job) for job in witnesses]
        delivering = [pool.submit(deliver, master) for master in ENDS]
        for one in looking + delivering:
            one.result()
    assert epochs(running) == (1, 1)
    assert_service_is_back(running, received)


def test_what_is_in_postgres_and_at_the_peer_is_never_ahead(running, received):
    """Also where what was read is written late: keys were delivered in between."""
    one = running.a
    witness = witness_of(one)
    for _ in range(3):
        exchange(running, received, 1)
        witness.compare()
        witness.exchange("kme-b", one.peers["kme-b"])
        now = one.entity.witness_store.read().own
        at_peer = running.b.entity.witness_store.read().peers["kme-a"]
        recorded = WitnessRecords(one.entity.database, "kme-a").read()["kme-a"]
        assert now == at_peer == recorded
        take(running, received)
        assert one.entity.witness_store.read().own.count == now.count + 1


def test_what_was_compared_before_redis_has_started_again_does_not_count_for_now(running):
    one = running.a.entity
    now = one.witness_store.read()
    with one.keystore.answering() as store:
        store.hset("witness", "checked", "the run before")
    one.witness_store.note_record(now.own, "the run before")
    assert not one.witness_store.read().is_checked
    one.witness_store.note_record(now.own, now.run)
    assert one.witness_store.read().is_checked


def test_a_message_of_the_witness_that_comes_late_or_twice_changes_nothing(running, received):
    peer = running.a.peers["kme-b"]
    step(running)
    late = [body for _, path, body in peer.calls if path == "/v1/witness"][-1]
    exchange(running, received)
    step(running)
    for _ in range(2):
        heard = peer.request("PUT", "/v1/witness", json=late).json["heard"]
        assert heard["count"] > late["count"]
    step(running)
    assert epochs(running) == (1, 1)
    assert isinstance(take(running, received), list)


@pytest.mark.parametrize(
    "body",
    [
        {"store": "0" * 32, "epoch": 0, "count": 1},
        {"store": "0" * 32, "epoch": 1, "count": -1},
        {"store": "0" * 32, "epoch": 1, "count": 2**60},
        {"store": "kme-a", "epoch": 1, "count": 1},
        {"store": "0" * 32, "epoch": 1},
    ],
)
def test_a_malformed_message_is_refused(running, body):
    before = running.b.entity.witness_store.read()
    answer = running.b.client(Identity("kme", "kme-a")).put("/v1/witness", json=body)
    assert answer.status_code == 400
    assert running.b.entity.witness_store.read() == before


def test_a_key_of_an_epoch_that_is_over_is_not_delivered_at_either_end(running, received):
    """From the moment the peer's new epoch is heard, before anything is destroyed."""
    keys = take(running, received, "sae-a", 2)
    of_a = running.b.entity.witness_store.read().peers["kme-a"]
    fresh = Mark(of_a.epoch + 1, uuid4().hex, 0)
    running.b.entity.witness_store.hear("kme-a", fresh)
    assert give(running, received, keys) == [400, 400]
    assert take(running, received, "sae-b").status_code == 503
    # Not even where kme-a confirms: what is there is of the old epoch.
    own = running.b.entity.witness_store.read().own
    running.b.entity.witness_store.hear("kme-a", fresh, own.store)
    assert running.b.entity.witness_store.read().confirmed == {"kme-a"}
    assert give(running, received, keys) == [400, 400]
    assert take(running, received, "sae-b").status_code == 503


def test_a_peer_that_is_away_does_not_stop_another_link(running, received):
    """A site with two links whose server has started anew: what one peer has confirmed is of use at once."""
    one = running.a.entity
    links = (Link("a-b", "kme-b"), Link("a-c", "kme-c"))
    settings = replace(one.settings, links=links)
    store = one.witness_store
    heard = Mark(1, uuid4().hex, 0)
    store.hear("kme-c", heard)
    intake = type(one.intake)(settings, one.block_records, one.keyring, one.byte_counts)
    one.records.set_links(links)
    intake.take(uuid4(), "a-b", "kme-a", 1000, bytes(125))
    with pytest.raises(Unconfirmed, match="kme-c"):
        intake.take(block_id := uuid4(), "a-c", "kme-a", 1000, bytes(125))
    assert isinstance(take(running, received), list)
    store.hear("kme-c", heard, store.read().own.store)
    intake.take(block_id, "a-c", "kme-a", 1000, bytes(125))
    # The other peer's epoch ends; what is shared with kme-c stays.
    store.hear("kme-b", Mark(9, uuid4().hex, 0))
    step(running)
    assert one.keystore.block(block_id) is not None
    assert take(running, received).status_code == 503


# Crashes while an epoch begins

STEPS = 11


def crashing(network, crash_at):
    witness = network.a.scheduler._first.step.__self__
    (quarantine,) = (one.step.__self__ for one in network.a.scheduler._chores if one.name == "quarantine")
    assert quarantine._records is witness._records
    return crash_in(
        [
            (witness._records, ("write", "follow_again", "close_lost")),
            (network.a.entity.witness_store, ("begin", "note_record", "hear")),
            (network.a.entity.keystore, ("leave_catalogue_mark",)),
        ],
        crash_at,
        after=True,
    )


@pytest.mark.parametrize("crash_at", range(1, STEPS + 1))
def test_a_crash_after_any_step_of_a_new_epoch_is_healed_by_starting_again(running, restarted, received, crash_at):
    exchange(running, received)
    step(running)
    with running.a.entity.keystore._redis as client:
        client.hincrby("witness", "count", -5)  # as a restored store has it
    calls = crashing(running, crash_at)
    with suppress(Crash):
        for _ in range(4):
            running.a.scheduler.step()
            running.b.scheduler.step()
    assert calls() >= crash_at
    restarted("kme-a")
    assert_service_is_back(running, received)
    assert epoch(running.b) == 1 and epoch(running.a) == 2
    assert_accounts(running)
