"""A restored, lost or swapped store is noticed, nothing of it is delivered again, and service is back by itself.

Each site has a Redis server of its own here, whose files are copied and put back.
"""

from __future__ import annotations

from uuid import UUID

import pytest
from restore_steps import (
    assert_service_is_back,
    bonds_in_use,
    epoch,
    epochs,
    exchange,
    give,
    step,
    take,
)
from store_copies import dump, load

from kme.errors import Unavailable
from kme.keystore import Cut

from kme_steps import blocks


def carried_on(network, received) -> list[dict]:
    """What takes place after a copy was taken; the witness is exchanged in the end. Keys not fetched yet."""
    exchange(network, received)
    unfetched = exchange(network, received)
    for _ in range(2):  # the copy of Postgres has cut its connections
        step(network)
    return unfetched


WHICH = ["redis", "postgres", "redis and postgres"]


@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
@pytest.mark.parametrize("which", WHICH)
def test_a_restored_store_is_noticed_and_its_keys_are_destroyed_at_both_ends(
    running, restarted, stores, received, which, when
):
    exchange(running, received)
    copies = stores["kme-a"].copy()
    unfetched = carried_on(running, received)
    destroyed = [site.entity.account().destroyed for site in (running.a, running.b)]
    old_bonds = bonds_in_use(running.b)
    stores["kme-a"].restore(which, copies)
    if when == "before it starts":
        restarted("kme-a")
    if "redis" in which:
        answer = take(running, received)
        assert answer.status_code == 503 and "kme-b has confirmed" in answer.get_json()["message"]
        assert answer.headers["Retry-After"]
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)
    assert give(running, received, unfetched) == [400, 400]
    for site, before in zip((running.a, running.b), destroyed, strict=True):
        assert site.entity.account().destroyed > before
        assert not bonds_in_use(site) & old_bonds
        assert not [one for one in blocks(site, "confirmed") if site.entity.keystore.block(one.block_id) is None]
    assert_is_audited(running)


def assert_is_audited(network) -> None:
    for site, event in ((network.a, "epoch_began"), (network.b, "peer_epoch_began")):
        with site.entity.database.transaction() as sql:
            sql.execute("SELECT count(*) AS n FROM audit WHERE event = %s AND detail ->> 'epoch' = '2'", (event,))
            assert sql.fetchone()["n"] >= 1
            sql.execute("SELECT count(*) AS n FROM audit WHERE detail ->> 'reason' = 'epoch_over'")
            assert sql.fetchone()["n"] >= 1


@pytest.mark.parametrize("which", WHICH)
def test_a_lost_store_is_noticed_and_the_peer_destroys_its_half(running, stores, received, which):
    unfetched = exchange(running, received)
    lost = take(running, received, "sae-b")
    step(running)
    saes = {"saes": ["sae-a"], "connections": running.a.entity.catalogue.refresh()}
    one = running.a
    one.scheduler.resign()
    one.scheduler = one.entity.scheduler(
        running.qkde.at("kme-a"), clock=lambda: one.clock[0], start_round=lambda work: work(), **saes
    )
    stores["kme-a"].restore(which, (None, None))
    if which == "redis":
        assert take(running, received).status_code == 503
        assert give(running, received, lost, "sae-b") == [503]  # it may be another store
        for call in (running.a.entity.held_keys.fetch, running.a.entity.lifecycle.consume):
            with pytest.raises(Unavailable, match="not compared"):
                call("sae-a", UUID(lost[0]["key_ID"]))
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)
    assert give(running, received, unfetched) == [400, 400]
    assert give(running, received, lost, "sae-b") == [400]


def test_a_store_emptied_or_overwritten_while_its_server_runs_is_noticed(running, redis_urls, received):
    exchange(running, received)
    copy = dump(redis_urls["kme-a"])
    carried_on(running, received)
    load(redis_urls["kme-a"], copy)
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)
    load(redis_urls["kme-a"], {})
    assert take(running, received).status_code == 503
    assert_service_is_back(running, received)
    assert epochs(running) == (3, 1)


def test_a_store_that_was_replaced_and_comes_back_is_noticed(running, stores, received):
    """The lost Redis turns up again after another one has taken its place."""
    exchange(running, received)
    copy = stores["kme-a"].redis.copy()
    stores["kme-a"].redis.restore(None)
    assert_service_is_back(running, received)
    stores["kme-a"].redis.restore(copy)
    assert_service_is_back(running, received)
    assert epochs(running) == (3, 1)


def test_both_sites_restored_to_other_moments_are_noticed_by_each_other(running, stores, received):
    exchange(running, received)
    of_a = stores["kme-a"].copy()
    carried_on(running, received)
    of_b = stores["kme-b"].copy()
    carried_on(running, received)
    stores["kme-a"].restore("redis and postgres", of_a)
    stores["kme-b"].restore("redis and postgres", of_b)
    assert_service_is_back(running, received)
    assert epoch(running.a) == 2


def test_both_key_stores_restored_are_noticed_by_the_databases_that_were_left(running, stores, received):
    """To one moment, so that the two stores agree with each other: each site begins anew."""
    exchange(running, received)
    copies = {kme_id: one.redis.copy() for kme_id, one in stores.items()}
    unfetched = carried_on(running, received)
    for kme_id, copy in copies.items():
        stores[kme_id].redis.restore(copy)
    assert [take(running, received, master).status_code for master in ("sae-a", "sae-b")] == [503, 503]
    assert give(running, received, unfetched) == [503, 503]
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 2)
    assert give(running, received, unfetched) == [400, 400]


def test_another_kmes_key_store_is_refused_untouched_and_service_is_back_with_the_own(
    running, stores, redis_urls, received
):
    """The two Redises are swapped while both sites run: nothing is delivered, destroyed or believed."""
    unfetched = exchange(running, received)
    step(running)
    own = {kme_id: one.redis.copy() for kme_id, one in stores.items()}
    for kme_id, other in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
        stores[kme_id].redis.restore(own[other])
    before = [without_clock(dump(url)) for url in redis_urls.values()]
    for _ in range(3):
        step(running)
        assert give(running, received, unfetched) == [503, 503]
        assert [take(running, received, master).status_code for master in ("sae-a", "sae-b")] == [503, 503]
    for site in (running.a, running.b):
        with pytest.raises(Unavailable, match="encrypted under key-encryption key .* give it the one it had"):
            site.scheduler.step()
        health = site.operator.get("/healthz")
        assert health.status_code == 503 and "key-encryption key" in health.get_data(as_text=True)
    assert [without_clock(dump(url)) for url in redis_urls.values()] == before
    for kme_id, copy in own.items():
        stores[kme_id].redis.restore(copy)
    assert_service_is_back(running, received)
    assert epochs(running) == (1, 1)
    assert give(running, received, unfetched) == [200, 200]


def test_the_audit_trail_takes_nothing_from_another_kmes_key_store(running, stores, redis_urls, received):
    """Whoever looks at the trail has it drained first."""
    load(redis_urls["kme-a"], {})
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)
    exchange(running, received)  # what is still in the streams
    own = {kme_id: one.redis.copy() for kme_id, one in stores.items()}
    before = dump(redis_urls["kme-b"])[b"audit"]
    stores["kme-a"].redis.restore(own["kme-b"])
    first = running.a.operator.get("/v1/audit/verification").get_json()
    assert dump(redis_urls["kme-a"])[b"audit"] == before
    stores["kme-a"].redis.restore(own["kme-a"])
    assert_service_is_back(running, received)
    then = running.a.operator.get("/v1/audit/verification").get_json()
    assert first["findings"] == then["findings"] == []
    assert epochs(running) == (2, 1)


def without_clock(content: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """It goes on, and callers' limits with it."""
    return {name: value for name, value in content.items() if name != b"clock" and not name.startswith(b"calls:")}


def test_the_database_of_another_kme_is_not_used(running, databases):
    with running.a.entity.database.transaction() as sql:
        sql.execute("UPDATE witness SET kme_id = 'kme-z' WHERE is_own")
    with pytest.raises(Exception, match="the database is kme-z's"):
        running.a.scheduler.step()


def test_a_whole_site_answers_503_until_its_peer_was_asked(running, restarted, stores, received):
    """Its two stores agree with each other: only the peer knows."""
    exchange(running, received)
    copies = stores["kme-a"].copy()
    unfetched = carried_on(running, received)
    stores["kme-a"].restore("redis and postgres", copies)
    restarted("kme-a")
    peer = running.a.peers["kme-b"]
    peer.witness_faults = ["refuse", "lose", "lose"]
    for _ in range(3):
        running.a.scheduler.step()
        assert epoch(running.a) == 1
        assert take(running, received).status_code == 503
        assert take(running, received, "sae-b") != []
    assert not peer.witness_faults
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)
    assert give(running, received, unfetched) == [400, 400]


def test_a_restored_site_does_nothing_that_counts_before_it_was_compared(running, stores, received):
    """It could make up for what the old copy lacks, so that the peer would not notice."""
    exchange(running, received)
    a, (block, *_) = running.a.entity, blocks(running.a, "confirmed")
    cuts = a.keystore._redis.hgetall(f"cuts:{block.block_id}")
    stored = {cut_id: text.split(b":", 3) for cut_id, text in cuts.items() if b":stored:" in text}
    cut_id, (first, end, entry, digest) = stored.popitem()
    stores["kme-a"].restore("redis", stores["kme-a"].copy())
    before = a.witness_store.read().own
    for act in (
        lambda: a.lifecycle.consume("sae-a", ids_of_copies(running.a)[0]),
        lambda: a.keystore.close_block(block.block_id, "burned"),
        lambda: a.keystore.void(Cut(cut_id, block.block_id, digest, int(first), int(end), entry.decode()), []),
    ):
        with pytest.raises(Unavailable, match="not compared"):
            act()
    store = a.keystore._redis
    for pool in store.scan_iter("pool:*"):  # keys that have expired, and are met on the way
        for at, record in enumerate(store.lrange(pool, 0, -1)):
            store.lset(pool, at, record[:29] + b"0" * 13 + record[42:])
    assert take(running, received).status_code == 503
    assert a.witness_store.read().own == before


@pytest.mark.parametrize("start_count", [1, 2])
def test_what_a_restored_site_does_alone_does_not_hide_that_it_is_behind(running, stores, received, start_count):
    """While its peer is away its keys end, and that is counted, too: beyond what the peer has seen of it."""
    exchange(running, received)
    step(running)
    copies = stores["kme-a"].copy()
    exchange(running, received)
    for _ in range(2):
        step(running)
    seen = running.b.entity.witness_store.read().peers["kme-a"]
    stores["kme-a"].restore("redis and postgres", copies)
    for peer in (running.a.peers["kme-b"], running.b.peers["kme-a"]):
        peer.witness_faults = ["refuse"] * 10
    for _ in range(2):
        step(running)
    for key_id in ids_of_copies(running.a):
        running.a.entity.lifecycle.consume("sae-a", key_id)
    for _ in range(2):
        step(running)
    assert running.a.entity.witness_store.read().own.is_ahead_of(seen)
    if start_count == 2:
        stores["kme-a"].restore("redis", stores["kme-a"].copy())
        step(running)
    for peer in (running.a.peers["kme-b"], running.b.peers["kme-a"]):
        peer.witness_faults = []
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 1)


def ids_of_copies(site) -> list[UUID]:
    client = site.entity.keystore._redis
    return [UUID(bytes=one[:16]) for name in client.scan_iter("copies:*") for one in client.hkeys(name)]
