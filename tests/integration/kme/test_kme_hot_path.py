"""What a delivery costs: one call of the key store, and nothing of anybody else."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager

import psycopg2
import pytest
import redis

from kme import scripted_redis
from kme.errors import Unavailable

from kme_steps import filled

LATEST_QUERIES = "SELECT datname, max(query_start) FROM pg_stat_activity WHERE datname LIKE 'kme_%' GROUP BY 1"
ENC, DEC = "/api/v1/keys/sae-b/enc_keys", "/api/v1/keys/sae-a/dec_keys"


@pytest.fixture
def full(network):
    """Both processes have served before: they know SAEs and connections, and Redis knows the scripts."""
    filled(network, 40)
    assert fetch(network, take(network.a).get_json()["keys"]).status_code == 200
    return network


@pytest.fixture
def other(full, make_site):
    """Another worker of kme-a, which knows SAEs and connections as they are now."""
    site = make_site("kme-a", peers=full.a.peers)
    assert take(site).status_code == 200
    return site


def take(site, number=1):
    return site.sae("sae-a").post(ENC, json={"number": number})


def fetch(network, keys):
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    return network.b.sae("sae-b").post(DEC, json=body)


@contextmanager
def sent_to(redis_url):
    """The commands that clients send to the server meanwhile; not those within scripts."""
    seen = []
    with redis.Redis.from_url(redis_url) as client, redis.Redis.from_url(redis_url) as own:
        own.ping()
        with client.monitor() as monitor:
            yield seen
            own.echo("that was all")
            for one in monitor.listen():
                if "that was all" in one["command"]:
                    break
                if one["client_type"] != "lua":
                    seen.append(one["command"].split()[0])


@pytest.mark.parametrize("number", [1, 10])
def test_a_delivery_is_one_call_of_the_key_store(full, redis_url, number):
    with sent_to(redis_url) as enc:
        keys = take(full.a, number).get_json()["keys"]
    with sent_to(redis_url) as dec:
        assert fetch(full, keys).get_json() == {"keys": keys}
    assert (enc, dec) == (["EVALSHA"], ["EVALSHA"])


@pytest.mark.parametrize("number", [1, 10])
def test_a_delivery_asks_neither_postgres_nor_another_kme(full, postgres_dsn, number):
    def asked():
        with closing(psycopg2.connect(postgres_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(LATEST_QUERIES)
            return dict(cursor.fetchall()), [len(site.peers[kme].calls) for site, kme in ends]

    ends = [(full.a, "kme-b"), (full.b, "kme-a")]
    before = asked()
    assert len(before[0]) == 2, "both have used Postgres before"
    keys = take(full.a, number).get_json()["keys"]
    assert fetch(full, keys).get_json() == {"keys": keys}
    assert asked() == before


def test_the_commands_of_a_script_are_as_many_for_one_key_as_for_ten(full, redis_urls):
    """But for the recipients of each key, who are looked up by name."""

    def within(deliver):
        with redis.Redis.from_url(redis_urls["kme-a"]) as client:
            before = client.info("commandstats")
            found = deliver()
            after = client.info("commandstats")
        used = {name: one["calls"] - before.get(name, {"calls": 0})["calls"] for name, one in after.items()}
        return found, {name: count for name, count in used.items() if count and name != "cmdstat_info"}

    one, for_one = within(lambda: take(full.a, 1).get_json()["keys"])
    ten, for_ten = within(lambda: take(full.a, 10).get_json()["keys"])
    assert for_one == for_ten
    assert within(lambda: fetch(full, one))[1] == within(lambda: fetch(full, ten))[1]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/saes/sae-a", 401), ("/v1/connections/{connection}", 400)],
)
def test_a_suspension_holds_for_the_next_delivery_of_another_process(full, other, path, status):
    connection = full.a.entity.catalogue.between("sae-a", "sae-b").connection_id
    before = full.a.entity.account()
    path = path.format(connection=connection)
    assert full.a.operator.patch(path, json={"suspended": True}).status_code == 200
    assert take(other).status_code == status
    assert full.a.entity.account() == before, "a key left its pool"
    assert full.a.operator.patch(path, json={"suspended": False}).status_code == 200
    assert take(other).status_code == 200


def test_a_suspension_holds_for_the_next_fetch_of_another_process(full, make_site):
    first, second = take(full.a, 2).get_json()["keys"]
    assert fetch(full, [first]).status_code == 200
    make_site("kme-b", peers=full.b.peers).operator.patch("/v1/saes/sae-b", json={"suspended": True})
    assert fetch(full, [second]).status_code == 401
    make_site("kme-b", peers=full.b.peers).operator.patch("/v1/saes/sae-b", json={"suspended": False})
    assert fetch(full, [second]).get_json() == {"keys": [second]}


def test_an_sae_that_is_registered_at_one_process_is_served_by_the_others_at_once(full, other):
    assert other.sae("new").post(ENC, json={}).status_code == 401
    assert full.a.operator.post("/v1/saes", json={"sae_id": "new"}).status_code == 201
    answer = other.sae("new").post(ENC, json={})
    assert answer.status_code == 400 and "no connection" in answer.get_json()["message"]


def test_a_new_limit_holds_for_the_next_delivery_of_another_process(full, other):
    now_s = time.time()  # it stands still: a slow machine would be allowed more calls
    for site in (full.a, other):
        site.entity.keystore._clock = lambda: now_s
    assert take(other).status_code == 200
    answer = full.a.operator.patch("/v1/saes/sae-a", json={"requests_per_s": 1, "request_burst": 2})
    assert answer.status_code == 200, answer.get_json()
    assert [take(one).status_code for one in (full.a, full.a, other)] == [200, 200, 429]


def test_threads_keep_their_connections_to_redis(full, redis_urls):
    with redis.Redis.from_url(redis_urls["kme-a"]) as client:
        assert take(full.a).status_code == 200
        before = client.info("stats")["total_connections_received"]
        assert {take(full.a).status_code for _ in range(10)} == {200}
        assert client.info("stats")["total_connections_received"] == before


@pytest.mark.parametrize("looked_at_after_s", [0, None])
def test_a_connection_that_redis_has_closed_costs_no_request(full, redis_urls, monkeypatch, looked_at_after_s):
    """Where it was used a moment ago, it takes a moment."""
    if looked_at_after_s is not None:
        monkeypatch.setattr(scripted_redis, "_LOOKED_AT_AFTER_S", looked_at_after_s)
    with redis.Redis.from_url(redis_urls["kme-a"]) as client:
        assert take(full.a).status_code == 200
        answered_s = time.monotonic()
        client.client_kill_filter(_type="normal", skipme=True)
        while time.monotonic() <= answered_s + scripted_redis._LOOKED_AT_AFTER_S:
            client.ping()
        assert take(full.a).status_code == 200


def unsent(*_):
    raise redis.ConnectionError


def test_a_connection_is_not_looked_at_again_unless_its_last_answer_is_old_or_did_not_come(full, monkeypatch):
    store, looked = full.a.entity.keystore, []
    monkeypatch.setattr(scripted_redis, "_LOOKED_AT_AFTER_S", 3600)
    monkeypatch.setattr(store, "_look_at", looked.append)
    for _ in range(3):
        store.clocks_ms()
    assert not looked
    with monkeypatch.context() as once, pytest.raises(Unavailable):
        once.setattr(store._own.connection, "send_command", unsent)
        store.clocks_ms()
    assert not looked
    store.clocks_ms()
    assert len(looked) == 1
    store.clocks_ms()
    assert len(looked) == 1
    monkeypatch.setattr(scripted_redis, "_LOOKED_AT_AFTER_S", 0)
    store.clocks_ms()
    assert len(looked) == 2


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one(full, redis_urls, monkeypatch):
    """Another SAE's keys could be in it."""
    store = full.a.entity.keystore
    store.clocks_ms()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with redis.Redis.from_url(redis_urls["kme-a"]) as client:
        client.client_pause(300)  # so long no answer comes
    with monkeypatch.context() as once, pytest.raises(KeyboardInterrupt):
        once.setattr(store._own.connection, "read_response", interrupted)
        store.run("admit_call", ["calls:sae-a"], [store.now(), 1, 2])
    fast, slow = store.clocks_ms()
    assert fast >= slow > 0


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(full, redis_urls):
    with redis.Redis.from_url(redis_urls["kme-a"]) as client:
        client.script_flush()
    assert take(full.a).status_code == 200
