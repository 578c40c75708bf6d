"""Servers that die and come back with all that they acknowledged: that is no reason for a new epoch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from restore_steps import assert_service_is_back, epochs, exchange, give, step, take

from kme.durability import weaknesses


def test_a_killed_redis_waits_for_the_peer_and_goes_on(running, stores, received):
    unfetched = exchange(running, received)
    for _ in range(3):
        stores["kme-a"].redis.crash()
        assert take(running, received).status_code == 503
        step(running)
        step(running)
        assert isinstance(exchange(running, received, 1), list)
        assert epochs(running) == (1, 1)
    assert give(running, received, unfetched) == [200, 200]
    assert_service_is_back(running, received)


def test_what_a_script_is_told_of_the_servers_run_is_of_the_one_that_it_reaches(running, stores):
    """On one connection it is asked once; scripts themselves do not ask (db/lua/witness.lua)."""
    url, store = stores["kme-a"].redis.url, running.a.entity.witness_store

    def seen() -> tuple[str, list[str]]:
        with redis.Redis.from_url(url) as client:
            client.config_resetstat()
            runs = [store.read().run for _ in range(3)]
            assert client.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"] <= 1
            return client.info("server")["run_id"], runs

    store.read()
    before, told = seen()
    assert told == [before] * 3
    stores["kme-a"].redis.crash()
    after, told = seen()
    assert told == [after] * 3 and after != before


def test_redis_killed_in_the_middle_of_deliveries_loses_none_and_repeats_none(running, stores, received):
    """What was on its way counts as delivered; what was answered is never given again."""

    def ask(_):
        answer = running.a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys")
        return answer.get_json()["keys"] if answer.status_code == 200 else []

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, i) for i in range(12)]
        asked[3].result()
        stores["kme-a"].redis.crash()
        keys = [key for one in asked for key in one.result()]
    received.enter("master sae-a", keys)
    assert_service_is_back(running, received)
    assert give(running, received, keys) == [200] * len(keys)
    assert epochs(running) == (1, 1)


def test_a_command_that_was_half_written_is_dropped_and_begins_no_epoch(running, stores, received):
    exchange(running, received)
    stores["kme-a"].redis.append_to_its_file(b"*4\r\n$7\r\nHINCRBY\r\n$7\r\nwit")
    assert_service_is_back(running, received)
    assert epochs(running) == (1, 1)


def test_cut_connections_to_postgres_begin_no_epoch(running, stores, received):
    for _ in range(3):
        stores["kme-a"].postgres.cut_connections()
        exchange(running, received, 1)
        step(running)
        step(running)
    assert_service_is_back(running, received)
    assert epochs(running) == (1, 1)


def test_a_store_that_is_less_durable_than_set_is_named(running, stores, caplog):
    one = running.a.entity
    assert weaknesses(one.database, one.keystore, one.settings.appendfsync) == []
    with redis.Redis.from_url(stores["kme-a"].redis.url) as client:
        client.config_set("appendfsync", "everysec")
        (said,) = weaknesses(one.database, one.keystore, "always")
        assert "appendfsync is everysec" in said and "always" in said
        assert weaknesses(one.database, one.keystore, "everysec") == []
        one.prepare()
        assert "less durable than set: Redis: appendfsync is everysec" in caplog.text
        health = running.a.operator.get("/healthz").get_json()
        assert health["status"] == "ok" and "appendfsync is everysec" in health["durability"]
        client.config_set("appendonly", "no")
        assert "appendonly is no" in " ".join(weaknesses(one.database, one.keystore, "always"))
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
    name = stores["kme-a"].postgres._name
    stores["kme-a"].postgres.set("synchronous_commit", "off")
    try:
        (said,) = weaknesses(one.database, one.keystore, "always")
        assert "synchronous_commit is off" in said, name
    finally:
        stores["kme-a"].postgres.set("synchronous_commit", None)


def test_everysec_is_said_at_the_start_where_it_is_chosen(running, restarted, make_site, caplog):
    restarted("kme-a")
    assert "QKD_APPENDFSYNC" not in caplog.text
    chosen = make_site("kme-a", settings={"appendfsync": "everysec"}).entity
    chosen.prepare()
    assert "QKD_APPENDFSYNC is everysec: a power failure may lose" in caplog.text


def test_every_answer_is_on_disk_before_it_is_given(running, stores, received):
    """The append-only file holds the delivery when the SAE has its key."""
    (file,) = Path(stores["kme-a"].redis.home / "appendonlydir").glob("*.incr.aof")
    keys = take(running, received)
    assert b"keys_delivered" in file.read_bytes()[-4096:]
    assert isinstance(keys, list)
