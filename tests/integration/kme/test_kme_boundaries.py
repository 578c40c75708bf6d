"""Who is let in at a listener may do there what is its own, and nothing else."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from kme.model import Link
from mutual_tls.identity import Identity

from kme_steps import blocks, filled, last_batch, pool_ids

STANDARD = ("/api/v1/keys/sae-b/status", "/api/v1/keys/sae-b/enc_keys", "/api/v1/keys/sae-a/dec_keys")


@pytest.fixture
def third(network):
    """KME c, at the other end of another link of KME b."""
    settings = network.b.entity.settings
    object.__setattr__(settings, "links", (*settings.links, Link("b-c", "kme-c")))
    return network.b.client(Identity("kme", "kme-c"))


def test_a_kme_can_do_nothing_to_a_batch_or_a_block_of_two_others(network, third):
    filled(network)
    batch, (block, *_) = last_batch(network), blocks(network.b, "confirmed")
    forged = batch | {"batch_id": str(uuid4()), "key_ids": [str(uuid4())], "offset_bits": 10_000}
    confirmation = {"link": "a-b", "length_bits": block.length_bits, "tag": "00" * 32}
    for path, body in (
        ("/v1/batches", forged),
        ("/v1/batches", batch),
        (f"/v1/batches/{batch['batch_id']}/void", batch),
        (f"/v1/blocks/{block.block_id}/closure", {}),
        (f"/v1/blocks/{block.block_id}/confirmation", confirmation),
        (f"/v1/blocks/{block.block_id}/confirmation", confirmation | {"link": "b-c"}),
    ):
        answer = third.post(path, json=body)
        assert answer.status_code in (400, 404, 409), (path, answer.status_code, answer.get_json())
    assert len(pool_ids(network)) == len(batch["key_ids"]), "every key is there, and equal at both ends"
    network.assert_account_adds_up()


def test_a_kme_can_read_neither_a_connection_of_two_others_nor_a_key(network, third):
    filled(network)
    connection = network.a.entity.catalogue.between("sae-a", "sae-b")
    assert third.get(f"/v1/connections/{connection.connection_id}").status_code == 405  # they are told, and not asked
    for method in STANDARD:
        assert third.get(method).status_code == 404


@pytest.mark.parametrize("link", ["b-c", "x"])
def test_a_qkde_hands_over_blocks_of_its_own_links_alone(network, link):
    answer = network.a.hand_over(uuid4(), "kme-a", bytes(1000), link=link)
    assert answer.status_code in (400, 404) and not blocks(network.a, "received")


@pytest.mark.parametrize("caller", [Identity("qkde", "qkde-a"), Identity("kme", "kme-b"), Identity("operator", "op")])
@pytest.mark.parametrize("path", STANDARD)
def test_no_listener_but_the_saes_has_the_standards_methods(network, caller, path):
    filled(network)
    assert network.a.client(caller).get(path).status_code == 404
    assert network.a.client(caller).post(path, json={}).status_code in (404, 405)


def test_an_operator_reads_no_key_anywhere(network):
    """Every GET that the operators' listener has, with what there is."""
    filled(network)
    taken = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"number": 2}).get_json()["keys"]
    connection = network.a.entity.catalogue.between("sae-a", "sae-b")
    values = {"key_id": taken[0]["key_ID"], "sae_id": "sae-a", "connection_id": connection.connection_id}
    shown = b""
    rules = [rule for rule in network.a.apps["operator"].url_map.iter_rules() if "GET" in rule.methods]
    assert len(rules) >= 8
    for site, rule in ((site, rule) for site in (network.a, network.b) for rule in rules):
        path = rule.rule
        for name in rule.arguments:
            converter = "path:" if f"<path:{name}>" in path else ""
            path = path.replace(f"<{converter}{name}>", str(values[name]))
        answer = site.operator.get(path)
        assert answer.status_code < 500, path
        shown += answer.data
    left = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"number": 3}).get_json()["keys"]
    for key in (*taken, *left):
        octets = base64.b64decode(key["key"])
        for form in (octets, octets.hex().encode(), key["key"].encode(), base64.urlsafe_b64encode(octets).rstrip(b"=")):
            assert form not in shown
