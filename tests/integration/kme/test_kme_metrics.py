"""What a KME's processes tell Prometheus, on real stores: every figure moves with what it stands for."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from services.kme_metrics import scheduler_metrics, store_metrics, stores_of

from kme_steps import filled

CONNECTION = {"master": "sae-a", "slave": "sae-b"}


@pytest.fixture
def stores(network):
    return reader(store_metrics(network.a.entity))


@pytest.fixture
def scheduler(network):
    return reader(scheduler_metrics(network.a.entity, network.a.scheduler))


def reader(asked):
    registry = CollectorRegistry()
    registry.register(asked)
    return lambda name, **labels: registry.get_sample_value(name, labels)


def test_a_pools_level_and_the_account_follow_each_delivery(network, stores):
    before = {role: delivered(role) for role in ("master", "slave")}
    filled(network, 5)
    assert stores("qkd_kme_pool_keys", **CONNECTION) == 5
    assert stores("qkd_kme_account_bits", entry="delivered") == 0
    (key,) = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys").get_json()["keys"]
    assert stores("qkd_kme_pool_keys", **CONNECTION) == 4
    assert stores("qkd_kme_account_bits", entry="delivered") == 256
    assert stores("qkd_kme_account_balanced") == 1
    assert delivered("master") == before["master"] + 1 and delivered("slave") == before["slave"]
    asked = {"key_IDs": [{"key_ID": key["key_ID"]}]}
    assert network.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json=asked).status_code == 200
    assert delivered("slave") == before["slave"] + 1


def test_a_refused_call_delivers_nothing_and_counts_none(network):
    before = delivered("master")
    assert network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys").status_code == 503
    assert delivered("master") == before


def delivered(role):
    return REGISTRY.get_sample_value("qkd_kme_delivered_keys_total", CONNECTION | {"role": role}) or 0.0


def test_watermarks_are_those_between_which_the_pool_is_filled(network, stores):
    connection = network.a.entity.catalogue.between("sae-a", "sae-b")
    assert stores("qkd_kme_pool_high_watermark_keys", **CONNECTION) == connection.max_key_count
    assert stores("qkd_kme_pool_low_watermark_keys", **CONNECTION) == connection.max_key_count // 2


def test_bits_that_are_not_cut_yet_are_told_by_link_and_owner(network, stores):
    filled(network, 5)
    uncut_bits = stores("qkd_kme_uncut_bits", link="a-b", owner="kme-a", state="confirmed")
    assert uncut_bits and uncut_bits == stores("qkd_kme_account_bits", entry="remainder")


def test_a_store_that_is_gone_is_told_and_the_other_still_answers(network, stores, monkeypatch):
    assert stores("qkd_kme_store_up", store="Postgres") == stores("qkd_kme_store_up", store="Redis") == 1
    monkeypatch.setattr(network.a.entity.keystore._redis.connection_pool, "connection_kwargs", {"port": 1})
    network.a.entity.keystore._redis.connection_pool.disconnect()
    network.a.entity.keystore._redis.connection_pool.reset()
    assert stores("qkd_kme_store_up", store="Redis") == 0
    assert stores("qkd_kme_store_up", store="Postgres") == 1
    with pytest.raises(Exception, match="Redis does not answer"):
        stores_of(network.a.entity)["Redis"]()


def test_a_batch_of_which_the_peer_is_silent_ages(network, scheduler):
    assert (scheduler("qkd_kme_unsettled_batches"), scheduler("qkd_kme_batch_lag_seconds")) == (0, 0)
    network.qkde.length_bits = 50_000
    network.a.scheduler.step()
    network.a.peers["kme-b"].faults = ["", "refuse", "refuse", "refuse"]
    network.a.scheduler.step()
    assert scheduler("qkd_kme_unsettled_batches") > 0
    with network.a.entity.database.transaction() as sql:
        sql.execute("UPDATE batch SET recorded_at = recorded_at - interval '100 s'")
    assert 100 <= scheduler("qkd_kme_batch_lag_seconds") < 200
    network.step(3)
    assert (scheduler("qkd_kme_unsettled_batches"), scheduler("qkd_kme_batch_lag_seconds")) == (0, 0)


def test_the_audit_trail_lags_until_the_scheduler_has_written_it(network, scheduler):
    filled(network, 5)
    assert scheduler("qkd_kme_audit_lag_seconds") > 0
    network.a.scheduler.step()
    assert scheduler("qkd_kme_audit_lag_seconds") == 0


def test_one_scheduler_leads_and_says_so(network, scheduler):
    network.a.scheduler.step()
    assert scheduler("qkd_kme_scheduler_leader") == 1
    network.a.scheduler.resign()
    assert scheduler("qkd_kme_scheduler_leader") == 0
