"""The entropy of what was taken in, and doors that are shut."""

from __future__ import annotations

import math
from uuid import uuid4

import pytest

from kme.entropy import shannon_entropy
from kme.web.doors import doors_of
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity

ENTROPY = "/api/v1/keys/entropy/total"


def total_entropy(network) -> float:
    answer = network.a.sae("sae-a").get(ENTROPY)
    assert answer.status_code == 200 and set(answer.get_json()) == {"total_entropy"}
    return answer.get_json()["total_entropy"]


def test_the_entropy_is_that_of_all_bytes_taken_in_each_once(network):
    assert total_entropy(network) == 0
    for block_id, bits in ((uuid4(), bytes(range(128))), (uuid4(), bytes(range(128, 256)))):
        for _ in range(2):  # offered again, as by a QKDE that did not hear the answer
            assert network.a.hand_over(block_id, "kme-a", bits).status_code == 204
    assert total_entropy(network) == 8
    network.a.hand_over(uuid4(), "kme-a", bytes(256))
    counts = [257] + 255 * [1]
    assert total_entropy(network) == round(shannon_entropy(counts), 4) < 5


def test_bytes_that_are_not_full_do_not_count(network):
    network.a.hand_over(uuid4(), "kme-a", bytes([0, 1, 0x80]), length_bits=17)
    assert total_entropy(network) == 1


def test_key_that_was_delivered_still_counts_and_a_pool_changes_nothing(network):
    network.step_until(lambda: network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys").status_code == 200)
    # Of N random bytes the mean is 8 - 255 / (2 N ln 2) (Miller 1955); within a hundredth here, as N is above 10,000.
    block_bytes = sum(len(bits) for bits in network.qkde.blocks.values())
    assert abs(total_entropy(network) - 8 + 255 / (2 * block_bytes * math.log(2))) < 0.01


def test_the_counts_are_not_readable_in_the_store(network):
    network.a.hand_over(uuid4(), "kme-a", bytes(1000))
    wrapped, version = network.a.entity.keystore.byte_counts()
    assert version == 1
    assert (1000).to_bytes(8, "little") not in wrapped and bytes(64) not in wrapped


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([0] * 256, 0), ([7] + 255 * [0], 0), ([1, 1], 1), ([1] * 256, 8), ([3, 1], 2 - 0.75 * math.log2(3))],
)
def test_shannon_entropy_is_that_of_the_textbook(counts, bits):
    assert shannon_entropy(counts) == pytest.approx(bits, abs=1e-12)


def test_an_sae_that_is_not_registered_is_told_nothing(network):
    assert network.a.sae("stranger").get(ENTROPY).status_code == 401


@pytest.mark.parametrize("method", ["head", "post", "delete"])
def test_entropy_has_no_other_verb(network, method):
    assert getattr(network.a.sae("sae-a"), method)(ENTROPY).status_code == 405


PATHS = {
    "quick": [("GET", "/get_key?slave_host=sae-b"), ("POST", "/register_connection")],
    "life-cycle": [
        ("GET", "/api/v1/status"), ("POST", "/api/v1/keys/request"), ("POST", "/api/v1/keys/consume"),
        ("GET", f"/api/v1/keys/{uuid4()}?requester_sae=sae-a"),
    ],
    "entropy": [("GET", ENTROPY)],
}  # fmt: skip


@pytest.mark.parametrize("open_door", [*PATHS, None])
def test_a_door_that_is_shut_answers_404_and_the_others_and_the_standard_work(make_site, open_door):
    site = make_site("kme-a", settings={"doors": frozenset({open_door} - {None})})
    site.entity.prepare(["sae-a"])
    client = sae_app(site.entity.delivery, doors=doors_of(site.entity)).test_client()
    client.environ_base[CALLER] = Identity("sae", "sae-a")
    for door, paths in PATHS.items():
        for method, path in paths:
            answer = client.open(path, method=method)
            assert (answer.status_code == 404) == (door != open_door), path
            assert "message" in answer.get_json() or answer.status_code == 200
    assert client.get("/api/v1/keys/sae-b/status").status_code == 400  # not connected
