"""The time of a key: it is not given out after its end, what is given out can be fetched, and every bit is accounted
for. The clock of each site's key store is the test's."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from kme.errors import NotEntitled, NotHere
from kme.model import Connection
from mutual_tls.client import Unreachable

from kme_steps import assert_batches, filled, link, pool_ids

POOL_TTL_S, FETCH_TTL_S, MARGIN_S = 100, 3_600, 60
ID = str(Connection("kme-a", "kme-b", "sae-a", "sae-b").connection_id)
DAY_S = 86_400
STEPS_S = (-10 * DAY_S, -3_600, -30, -1, 0.5, 20, 100, 3_700, DAY_S, 31 * DAY_S)


class Clock:
    """A key store's own time."""

    def __init__(self, site):
        self.now_s, self._keystore = 1_700_000_000.0, site.entity.keystore
        self._keystore._clock = lambda: self.now_s

    def pass_(self, seconds: float) -> None:
        """As it passes on a site that runs: somebody looks at the clock every few seconds."""
        for _ in range(int(seconds // 10)):
            self.step(10)
        self.step(seconds % 10)

    def step(self, seconds: float) -> None:
        """As an administrator does it, or as it passes while the whole site is down."""
        self.now_s += seconds
        self._keystore.clocks_ms()


@pytest.fixture
def clocks(network):
    return {"a": Clock(network.a), "b": Clock(network.b)}


@pytest.fixture
def timed(network, clocks):
    """Both pools are full; their keys have 100 s."""
    for path in (ID, str(Connection("kme-b", "kme-a", "sae-b", "sae-a").connection_id)):
        assert network.a.operator.patch(f"/v1/connections/{path}", json={"ttl_s": POOL_TTL_S}).status_code == 200
    network.step_until(lambda: all(site.entity.account().stored == 2 * 20 * 256 for site in (network.a, network.b)))
    network.qkde.abort_reason = "no more"
    return network


def take(network, number=1):
    return network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"number": number})


def taken(network, number=1):
    answer = take(network, number)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["keys"]


def fetch(network, keys, sae="sae-b"):
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    return network.b.sae(sae).post("/api/v1/keys/sae-a/dec_keys", json=body)


def pass_everywhere(clocks, seconds):
    for clock in clocks.values():
        clock.pass_(seconds)


def life(site, key_id):
    answer = site.operator.get(f"/v1/keys/{key_id}")
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def states(site, key_id):
    found = life(site, key_id)
    assert found["state"] == found["states"][-1]["state"]
    return [one["state"] for one in found["states"]]


# Expiry


def test_an_expired_key_is_not_delivered_even_before_the_sweeper_comes(timed, clocks):
    pass_everywhere(clocks, POOL_TTL_S - 1)
    keys = taken(timed, 2)
    pass_everywhere(clocks, 1)
    answer = take(timed)
    assert answer.status_code == 503 and answer.get_json()["details"] == [{"available_key_count": 0}]
    assert fetch(timed, keys).status_code == 200
    timed.assert_account_adds_up()


def test_what_expires_is_counted_as_expired_at_both_sites(timed, clocks):
    fetch(timed, taken(timed, 5))
    pass_everywhere(clocks, POOL_TTL_S)
    for site in (timed.a, timed.b):
        site.entity.lifecycle.sweep()
    # The masters' pools are over, the slaves' copies are not.
    assert [site.entity.account().expired for site in (timed.a, timed.b)] == [15 * 256, 20 * 256]
    pass_everywhere(clocks, FETCH_TTL_S + MARGIN_S + 1)
    for site, bits in ((timed.a, 35 * 256), (timed.b, 35 * 256)):
        site.entity.lifecycle.sweep()
        account = site.operator.get("/v1/status").get_json()["account"]
        assert account["expired_bits"] == bits and account["stored_bits"] == 0 and account["balanced"]


def test_some_keys_of_a_pool_may_be_older_than_others(timed, clocks):
    taken(timed, 10)
    pass_everywhere(clocks, 50)
    timed.qkde.abort_reason = None
    taken(timed, 1)
    timed.step_until(lambda: timed.a.entity.account().stored == 40 * 256)
    pass_everywhere(clocks, 50)
    assert len(pool_ids(timed)) == 11
    assert timed.a.entity.account().expired == 9 * 256
    timed.assert_account_adds_up()


def test_the_sweeper_takes_a_bounded_number_of_keys_at_once(timed, clocks):
    pass_everywhere(clocks, POOL_TTL_S + FETCH_TTL_S + MARGIN_S)
    lifecycle = timed.a.entity.lifecycle
    first = lifecycle.sweep(at_once=3, step_count=1)
    assert 3 <= first <= 2 * 3  # three of a pool, and who might have fetched three: of these, some have a copy here
    timed.assert_account_adds_up()
    assert_batches(timed.a.entity.keystore._redis)
    more = lifecycle.sweep(at_once=3, step_count=2)
    assert 6 <= more <= 2 * 6
    assert first + more + lifecycle.sweep() == 2 * 20
    assert lifecycle.sweep() == 0
    timed.assert_account_adds_up()


def test_a_pool_whose_keys_have_expired_is_filled_again(timed, clocks):
    pass_everywhere(clocks, POOL_TTL_S)
    timed.qkde.abort_reason = None
    timed.a.clock[0] += 10
    timed.step_until(lambda: take(timed, 10).status_code == 200)


def test_nothing_is_left_of_keys_whose_time_is_over(timed, clocks):
    fetch(timed, taken(timed, 5))
    pass_everywhere(clocks, POOL_TTL_S + FETCH_TTL_S + MARGIN_S + 1)
    for site in (timed.a, timed.b):
        site.entity.lifecycle.sweep()
        client = site.entity.keystore._redis
        left = {name.decode() for name in client.scan_iter("*")}
        of_keys = ("pool:", "copies:", "ends:", "entitlement", "batches")
        assert not [name for name in left if name.startswith(of_keys)]


# A key that was given to its master


def test_a_key_taken_at_the_last_moment_can_be_fetched_for_the_whole_fetch_time(timed, clocks):
    pass_everywhere(clocks, POOL_TTL_S - 1)
    keys = taken(timed)
    pass_everywhere(clocks, FETCH_TTL_S)
    timed.step()
    assert fetch(timed, keys).get_json() == {"keys": keys}


def test_a_copy_is_given_until_the_last_millisecond_of_its_time(timed, clocks):
    first, second = taken(timed, 2)
    store = timed.b.entity.keystore
    copy = store._redis.hget(f"copies:{ID}", UUID(first["key_ID"]).bytes + b"sae-b")
    _, slow_ms = store.clocks_ms()
    clocks["b"].pass_((int(copy[:13]) - slow_ms - 1) / 1000 + 0.0001)  # a fraction of a millisecond is cut off
    assert int(copy[:13]) - store.clocks_ms()[1] == 1
    assert fetch(timed, [first]).get_json() == {"keys": [first]}
    clocks["b"].step(0.001)
    assert fetch(timed, [second]).status_code == 400


def test_answers_stay_the_same_until_the_time_is_over(timed, clocks):
    timed.b.operator.post("/v1/saes", json={"sae_id": "stranger"})
    connection = {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "sae-a",
        "slave_SAE_ID": "stranger",
    }
    timed.a.operator.post("/register_connection", json=connection)
    keys = taken(timed)
    assert fetch(timed, keys).status_code == 200
    assert (fetch(timed, keys).status_code, fetch(timed, keys, "stranger").status_code) == (400, 401)
    clocks["b"].pass_(POOL_TTL_S + FETCH_TTL_S - 200)
    timed.b.entity.lifecycle.sweep()
    assert (fetch(timed, keys).status_code, fetch(timed, keys, "stranger").status_code) == (400, 401)
    clocks["b"].pass_(200 + MARGIN_S)
    timed.b.entity.lifecycle.sweep()
    assert (fetch(timed, keys).status_code, fetch(timed, keys, "stranger").status_code) == (400, 400)


def test_a_batch_that_came_through_late_gives_no_key_that_its_slave_may_have_lost(network, clocks):
    filled(network, 1)
    a, peer = network.a.entity, network.a.peers["kme-b"]
    network.a.operator.patch(f"/v1/connections/{ID}", json={"ttl_s": POOL_TTL_S})
    peer.faults = ["lose"]
    with pytest.raises(Unreachable):
        a.batch_owner.fill(a.catalogue.between("sae-a", "sae-b"), link(network), peer, 256, 4)
    pass_everywhere(clocks, POOL_TTL_S)
    a.batch_owner.redrive(link(network), peer)
    assert take(network, 2).get_json()["details"] == [{"available_key_count": 1}]
    a.lifecycle.sweep()
    assert a.account().expired == 4 * 256
    network.assert_account_adds_up()


# Clocks that are stepped


def test_a_step_forward_of_the_slaves_clock_cuts_no_key_short(timed, clocks):
    keys = taken(timed)
    clocks["b"].step(10 * DAY_S)
    timed.b.scheduler.step()
    assert fetch(timed, keys).get_json() == {"keys": keys}


def test_a_step_back_of_the_slaves_clock_keeps_no_key_for_ever(timed, clocks):
    keys = taken(timed)
    clocks["b"].step(-10 * DAY_S)
    clocks["b"].pass_(POOL_TTL_S + FETCH_TTL_S + MARGIN_S + 1)
    assert fetch(timed, keys).status_code == 400


def test_a_step_back_of_the_masters_clock_gives_no_key_out_that_is_over(timed, clocks):
    clocks["a"].step(-10 * DAY_S)
    clocks["a"].pass_(POOL_TTL_S)
    assert take(timed).status_code == 503


def test_the_time_in_which_the_masters_site_was_down_counts(timed, clocks):
    clocks["a"].step(POOL_TTL_S)
    assert take(timed).status_code == 503


def test_the_sites_clocks_need_not_agree(timed, clocks):
    clocks["b"].now_s -= 5 * DAY_S
    keys = taken(timed)
    assert fetch(timed, keys).get_json() == {"keys": keys}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_clocks_are_set_to_no_key_is_lost_or_comes_twice(network, clocks, seed):
    chance = random.Random(seed)
    given, waiting = set(), []
    for _ in range(30):
        clocks[chance.choice("ab")].step(chance.choice(STEPS_S))
        answers = []
        network.step_until(lambda: answers.append(take(network, 3)) or answers[-1].status_code == 200)  # noqa: B023
        keys = answers[-1].get_json()["keys"]
        assert given.isdisjoint(key["key_ID"] for key in keys)
        given |= {key["key_ID"] for key in keys}
        waiting.append(keys)
        if chance.random() < 0.5:
            late = waiting.pop(chance.randrange(len(waiting)))
            assert fetch(network, late).get_json() == {"keys": late}
            assert fetch(network, late).status_code == 400
    for late in waiting:
        assert fetch(network, late).get_json() == {"keys": late}
    network.assert_account_adds_up()


# States


def test_a_keys_states_are_shown_at_both_kmes_and_its_bits_at_none(timed):
    (key,) = taken(timed)
    key_id = key["key_ID"]
    assert states(timed.a, key_id) == ["STORED", "RESERVED", "DELIVERED"]
    assert states(timed.b, key_id) == ["STORED", "RESERVED"]
    fetch(timed, [key])
    assert states(timed.b, key_id) == ["STORED", "RESERVED", "DELIVERED", "CONSUMED"]
    assert states(timed.a, key_id) == ["STORED", "RESERVED", "DELIVERED"]
    for site, role, sae in ((timed.a, "master", "sae-a"), (timed.b, "slave", "sae-b")):
        shown = life(site, key_id)
        (delivered,) = [one for one in shown["states"] if one["state"] == "DELIVERED"]
        assert (delivered["role"], delivered["sae_id"]) == (role, sae)
        assert (shown["master_sae_id"], shown["slave_sae_id"]) == ("sae-a", "sae-b")
        times = [one["at"] for one in shown["states"]]
        assert all("T" in one for one in times)
        assert key["key"] not in site.operator.get(f"/v1/keys/{key_id}").text


def test_a_key_is_consumed_only_when_all_its_recipients_of_the_site_have_it(timed):
    timed.b.operator.post("/v1/saes", json={"sae_id": "sae-c"})
    timed.a.operator.patch(f"/v1/connections/{ID}", json={"max_SAE_ID_count": 1})
    answer = timed.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"additional_slave_SAE_IDs": ["sae-c"]})
    keys = answer.get_json()["keys"]
    key_id = keys[0]["key_ID"]
    assert fetch(timed, keys, "sae-c").status_code == 200
    assert states(timed.b, key_id)[-1] == "DELIVERED"
    assert fetch(timed, keys).status_code == 200
    assert states(timed.b, key_id)[-2:] == ["DELIVERED", "CONSUMED"]


def test_expired_and_destroyed_keys_show_it(timed, clocks):
    before = set(timed.a.entity.keystore._redis.lrange(f"pool:{ID}:256", 0, -1))
    key_id = UUID(bytes=before.pop()[:16])
    pass_everywhere(clocks, POOL_TTL_S)
    timed.a.entity.lifecycle.sweep()
    assert states(timed.a, key_id) == ["STORED", "RESERVED", "EXPIRED"]
    timed.a.operator.delete(f"/v1/connections/{ID}")
    assert states(timed.b, key_id) == ["STORED", "RESERVED", "DESTROYED"]


def test_a_key_on_its_way_is_reserved(network, clocks):
    filled(network, 1)
    a, peer = network.a.entity, network.a.peers["kme-b"]
    peer.faults = ["refuse"]
    with pytest.raises(Unreachable):
        a.batch_owner.fill(a.catalogue.between("sae-a", "sae-b"), link(network), peer, 256, 1)
    (batch,) = a.block_records.unsettled("a-b")
    assert states(network.a, batch.key_ids[0]) == ["STORED", "RESERVED"]
    assert network.b.operator.get(f"/v1/keys/{batch.key_ids[0]}").status_code == 404


def test_the_time_that_is_left_of_a_key_is_told(timed, clocks):
    (key,) = taken(timed)
    assert life(timed.b, key["key_ID"])["time_left_s"] == pytest.approx(POOL_TTL_S + FETCH_TTL_S, abs=1)
    clocks["b"].pass_(1_000)
    assert life(timed.b, key["key_ID"])["time_left_s"] == pytest.approx(POOL_TTL_S + FETCH_TTL_S - 1_000, abs=1)


def test_a_recipient_can_say_that_it_needs_a_key_no_more(timed):
    (key,) = taken(timed)
    key_id, lifecycle = UUID(key["key_ID"]), timed.b.entity.lifecycle
    for _ in range(2):
        lifecycle.consume("sae-b", key_id)
    assert fetch(timed, [key]).status_code == 400
    assert timed.b.entity.account().destroyed == 256
    assert states(timed.b, key["key_ID"])[-2:] == ["DESTROYED", "CONSUMED"]
    timed.a.entity.lifecycle.consume("sae-a", key_id)
    with pytest.raises(NotEntitled):
        lifecycle.consume("sae-z", key_id)
    with pytest.raises(NotHere):
        lifecycle.consume("sae-b", UUID(int=7))
    timed.assert_account_adds_up()


# Records


def test_closed_blocks_and_their_batches_are_forgotten_long_after(network, clocks):
    network.qkde.length_bits = 256 + 20 * 256
    a = network.a.entity
    network.step_until(lambda: a.block_records.blocks_of("kme-a", "a-b", "closed"))
    network.qkde.abort_reason = "no more"
    network.step(3)
    clocks["a"].step(31 * DAY_S)  # a stepped clock, or the site was down: no time in which a hand-off was tried
    assert a.lifecycle.forget_old() == 0
    closed = a.block_records.blocks_of("kme-a", "a-b", "closed")
    for _ in range(31):
        with a.database.transaction() as sql:  # 31 days in steps of 10 s would take long
            sql.execute("UPDATE block SET closed_ms = closed_ms - %s", (DAY_S * 1000,))
    assert a.lifecycle.forget_old(at_once=1) == 1
    a.lifecycle.forget_old()
    assert not a.block_records.blocks_of("kme-a", "a-b", "closed")
    client = a.keystore._redis
    assert not any(client.sismember("blocks", block.block_id.bytes) for block in closed)
    network.assert_account_adds_up()
