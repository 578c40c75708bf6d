"""Steps that tests of two whole KMEs have in common."""

from __future__ import annotations

from uuid import uuid4

from kme.model import Block
from mutual_tls.identity import Identity


class Crash(BaseException):
    """The process is gone: nothing may catch it on its way."""


def pool_ids(network, site="a") -> set[str]:
    """Takes every key out of a pool at its master's and fetches it at its slave's; the ids, all found equal."""
    master, slave = (network.a, network.b) if site == "a" else (network.b, network.a)
    m, s = ("sae-a", "sae-b") if site == "a" else ("sae-b", "sae-a")
    ids = set()
    while True:
        answer = master.sae(m).post(f"/api/v1/keys/{s}/enc_keys")
        if answer.status_code == 503:
            return ids
        (key,) = answer.get_json()["keys"]
        asked = {"key_IDs": [{"key_ID": key["key_ID"]}]}
        assert slave.sae(s).post(f"/api/v1/keys/{m}/dec_keys", json=asked).get_json() == {"keys": [key]}
        assert key["key_ID"] not in ids
        ids.add(key["key_ID"])


def link(network):
    return network.a.entity.settings.links[0]


def unsettled(network):
    return network.a.entity.block_records.unsettled("a-b")


def filled(network, count=5):
    """Has a hold a confirmed block and puts `count` keys into the pool of sae-a → sae-b, without the scheduler."""
    a = network.a.entity
    network.qkde.round(uuid4(), "kme-a")
    confirm(network)
    connection = a.catalogue.between("sae-a", "sae-b")
    return a.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, count)


def confirm(network):
    a = network.a.entity
    for block in a.block_records.blocks_of("kme-a", "a-b", "received"):
        a.confirmation.ask(block, network.a.peers["kme-b"])


def post(network, path, body=None, sender="kme-a"):
    return network.b.client(Identity("kme", sender)).post(path, json=body)


def last_batch(network):
    return [body for _, path, body in network.a.peers["kme-b"].calls if path == "/v1/batches"][-1]


# Blocks


def blocks(site, state, owner="kme-a") -> list[Block]:
    return site.entity.block_records.blocks_of(owner, "a-b", state)


def new_batch(network, **changes):
    batch = last_batch(network)
    end = batch["offset_bits"] + batch["key_size_bits"] * len(batch["key_ids"])
    fresh = {"batch_id": str(uuid4()), "offset_bits": end, "key_ids": [str(uuid4())]}
    return batch | fresh | changes
