"""Steps that tests of two whole KMEs have in common."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

from kme.model import Block
from mutual_tls.identity import Identity


class Crash(BaseException):
    """The process is gone: nothing may catch it on its way."""


def crash_in(steps, crash_at, after):
    """Counts the calls of the named methods and crashes at one, before or after it took place; returns the counter."""
    count = 0

    def counted(call):
        def wrapper(*arguments, **options):
            nonlocal count
            count += 1
            if count == crash_at and not after:
                raise Crash
            result = call(*arguments, **options)
            if count == crash_at:
                raise Crash
            return result

        return wrapper

    for owner, names in steps:
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    return lambda: count


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


# Additional slaves, and SAEs of one KME

SITES = {"sae-a": "a", "sae-b": "b", "third-a": "a", "third-b": "b", "other": "b"}


def connected(network, master="sae-a", slave="sae-b", max_sae_id_count=0, **members):
    """Registers both SAEs and a connection between them; the shipped one in its place where there is one."""
    for sae_id in (master, slave):
        site(network, sae_id).operator.post("/v1/saes", json={"sae_id": sae_id})
    body = {
        "source_KME_ID": f"kme-{SITES[master]}",
        "target_KME_ID": f"kme-{SITES[slave]}",
        "master_SAE_ID": master,
        "slave_SAE_ID": slave,
        "max_keys_count": 20,
        "max_key_per_request": 10,
        "max_SAE_ID_count": max_sae_id_count,
    }
    answer = site(network, master).operator.post("/register_connection", json=body | members)
    assert answer.status_code == 201, answer.get_json()


def site(network, sae_id):
    return getattr(network, SITES[sae_id])


def ask(network, master, slave, **request):
    return site(network, master).sae(master).post(f"/api/v1/keys/{slave}/enc_keys", json=request)


def fetch(network, sae_id, master, keys):
    asked = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    return site(network, sae_id).sae(sae_id).post(f"/api/v1/keys/{master}/dec_keys", json=asked)


def counted_stored_bits(entity) -> int:
    """The bits of all copies that are there, counted one by one: what the account calls `stored`."""
    client = entity.keystore._redis
    records = [one[45:] for name in client.scan_iter("pool:*") for one in client.lrange(name, 0, -1)]
    records += [one for name in client.scan_iter("copies:*") for one in client.hvals(name)]
    return sum(8 * (len(one) - 13 - 32) for one in records)


def counted_batches(client) -> Counter:
    """Of each pool and each time at which keys of it end, how many there are: what `batches` says."""
    pools = {name: client.lrange(name, 0, -1) for name in client.scan_iter("pool:*")}
    return Counter(one[29:42] + name for name, records in pools.items() for one in records)


def assert_batches(client) -> None:
    batches = {name: int(count) for name, count in client.hgetall("batches").items()}
    assert batches == counted_batches(client)
    assert dict(client.zrange("ends:pool", 0, -1, withscores=True)) == {name: int(name[:13]) for name in batches}


def assert_accounts(network) -> None:
    network.assert_account_adds_up()
    for one in (network.a, network.b):
        assert one.entity.account().stored == counted_stored_bits(one.entity)
        assert_batches(one.entity.keystore._redis)
