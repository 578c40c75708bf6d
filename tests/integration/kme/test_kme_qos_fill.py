"""QoS that acts: what the scheduler puts into which pool when a link's bits are scarce, with real stores."""

from __future__ import annotations

import pytest

from kme_steps import ask, connected


def stored(network):
    pools = network.a.operator.get("/v1/status").get_json()["pools"]
    return {one["slave_sae_id"]: one["stored_key_count"] for one in pools}


def scarce(network, key_count):
    """One block with room for so many keys of 256 bits, and no more after it."""
    network.qkde.length_bits = 256 + key_count * 256
    network.a.scheduler.step()
    network.qkde.abort_reason = "no more"
    network.a.scheduler.step()


def test_the_higher_priority_is_filled_first(network):
    connected(network, "sae-a", "other", Priority=3)
    scarce(network, 25)
    assert stored(network) == {"other": 20, "sae-b": 5}


def test_the_higher_priority_is_filled_before_the_peer_stops_answering(network):
    connected(network, "sae-a", "other", Priority=3)
    network.a.scheduler.step()
    network.a.peers["kme-b"].faults = ["", ""] + ["refuse"] * 20  # confirms the block and takes one batch
    network.a.scheduler.step()
    assert stored(network) == {"other": 20, "sae-b": 0}


def test_what_is_owed_by_min_bps_comes_before_a_higher_priority(network):
    connected(network, "sae-a", "other", Priority=3, Min_bps=0)
    connected(network, "sae-a", "third-b", Min_bps=256)
    scarce(network, 25)
    assert stored(network) == {"third-b": 10, "other": 15, "sae-b": 0}


def test_max_bps_bounds_how_fast_a_pool_is_filled_by_the_clock_of_the_scheduler(network):
    connected(network, "sae-a", "other", Max_bps=512)
    counts = []
    for _ in range(6):
        network.step(2)
        counts.append(stored(network)["other"])
        network.a.clock[0] += 1.0
    assert counts[1:] == [counts[0] + 2 * n for n in range(1, 6)] and counts[0] <= 2
    assert stored(network)["sae-b"] == 20


@pytest.mark.parametrize("qos", [{"Max_bps": 512}, {}])
def test_a_pool_with_a_bound_is_full_in_the_end(network, qos):
    connected(network, "sae-a", "other", **qos)
    network.step_until(lambda: stored(network)["other"] == 20)
    assert ask(network, "sae-a", "other", number=10).status_code == 200


def test_a_promise_above_the_bound_is_refused_at_registration(network):
    network.b.operator.post("/v1/saes", json={"sae_id": "other"})
    body = {"source_KME_ID": "kme-a", "target_KME_ID": "kme-b", "master_SAE_ID": "sae-a", "slave_SAE_ID": "other"}
    answer = network.a.operator.post("/register_connection", json=body | {"Max_bps": 10, "Min_bps": 11})
    assert answer.status_code == 400 and "Min_bps: expected at most Max_bps" in answer.get_json()["message"]
