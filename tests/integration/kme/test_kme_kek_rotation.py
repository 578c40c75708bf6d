"""The key-encryption key is changed while blocks are cut and keys are delivered."""

from __future__ import annotations

from uuid import uuid4

import pytest

from kme.errors import Conflict, Unavailable
from kme.kek_rotation import KekRotation
from kme.keywrap import fingerprint_in
from kme.rewrapping import Rewrapping

from kme_steps import (
    Crash,
    assert_accounts,
    blocks,
    confirm,
    connected,
    crash_in,
    fetch,
    filled,
    link,
    pool_ids,
)


@pytest.fixture
def entity(network):
    """a's KME, with a block that is being cut, a pool and, for sae-a as a slave, copies."""
    filled(network, 6)
    b = network.b.entity
    network.qkde.round(uuid4(), "kme-b")
    for block in b.block_records.blocks_of("kme-b", "a-b", "received"):
        b.confirmation.ask(block, network.b.peers["kme-a"])
    back = b.catalogue.between("sae-b", "sae-a")
    assert b.batch_owner.fill(back, b.settings.links[0], network.b.peers["kme-a"], 256, 4) is not None
    return network.a.entity


def rotation(entity, **options):
    return KekRotation(entity.keystore, entity.keyring, unwrapped_within_s=0.0, **options)


def finish(entity, limit=60):
    work = rotation(entity)
    for _ in range(limit):
        work.step()
        if not work.status().retired:
            return
    raise AssertionError(f"not done in {limit} steps")


def wrapped_values(entity):
    store = entity.keystore._redis
    found = [store.hget("byte_counts", "counts"), *(store.hget(name, "bits") for name in store.scan_iter("block:*"))]
    found += [one[58:] for name in store.scan_iter("pool:*") for one in store.lrange(name, 0, -1)]
    return found + [one[13:] for name in store.scan_iter("copies:*") for one in store.hvals(name)]


def fingerprints(entity):
    return {fingerprint_in(one) for one in wrapped_values(entity)}


def whatever_names(entity, fingerprint):
    """Also what `wrapped_values` has not heard of: the names of everything in the store with these four bytes in it."""
    store = entity.keystore._redis
    return [name for name in store.scan_iter() if fingerprint in store.dump(name)]


def files(entity):
    return sorted(one.name for one in entity.keyring.folder.path.iterdir() if one.name != "lock")


def assert_all_is_delivered(network):
    assert len(pool_ids(network)) == 6
    assert len(pool_ids(network, "b")) == 4
    assert_accounts(network)


def test_everything_is_wrapped_anew_and_delivered_as_before(network, entity):
    former = entity.keyring.fingerprint
    assert len(wrapped_values(entity)) == 1 + 2 + 6 + 4 and fingerprints(entity) == {former}
    answer = network.a.operator.post("/v1/kek/rotation")
    assert answer.status_code == 202
    assert answer.get_json()["retired"] == [former.hex()] != [answer.get_json()["fingerprint"]]
    finish(entity)
    new = entity.keyring.fingerprint
    assert fingerprints(entity) == {new} != {former}
    assert not whatever_names(entity, former)
    status = network.a.operator.get("/v1/status").get_json()["kek"]
    assert status == {"fingerprint": new.hex(), "retired": [], "rewrapped_count": 13, "kept_in": "file"}
    assert_all_is_delivered(network)


def test_keys_are_delivered_and_blocks_cut_and_taken_in_between_any_two_steps(network, entity):
    entity.kek_rotation.begin()
    connection = entity.catalogue.between("sae-a", "sae-b")
    delivered = 0
    for _ in Rewrapping(entity.keystore, entity.keyring, at_once=2).one_pass():
        for key in network.a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").get_json().get("keys", []):
            assert fetch(network, "sae-b", "sae-a", [key]).get_json() == {"keys": [key]}
            delivered += 1
        entity.batch_owner.fill(connection, link(network), network.a.peers["kme-b"], 256, 1)
    finish(entity)
    assert delivered > 4 and fingerprints(entity) == {entity.keyring.fingerprint}
    assert len(pool_ids(network)) >= 5
    assert_accounts(network)


def test_another_process_takes_the_new_kek_up_by_itself(network, entity, make_site):
    other = make_site("kme-a", peers=network.a.peers)
    other.entity.check()
    former = other.entity.keyring.fingerprint
    entity.kek_rotation.begin()
    assert other.entity.keyring.fingerprint == former
    # A cut of the one that has not heard of it, of a block that is still under the former KEK.
    connection = other.entity.catalogue.between("sae-a", "sae-b")
    peer = network.a.peers["kme-b"]
    assert other.entity.batch_owner.fill(connection, link(network), peer, 256, 2) is not None
    assert other.entity.keyring.fingerprint == entity.keyring.fingerprint
    finish(entity)
    assert fingerprints(entity) == {entity.keyring.fingerprint}
    for site in (other, network.a):
        assert site.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").status_code == 200


def test_a_process_that_has_not_heard_of_it_takes_no_block_in_under_the_former_kek(network, entity, make_site):
    other = make_site("kme-a", peers=network.a.peers)
    other.entity.check()
    entity.kek_rotation.begin()
    block_id = uuid4()
    assert other.hand_over(block_id, "kme-a", bytes(2000)).status_code == 204
    assert fingerprint_in(entity.keystore.block(block_id).wrapped) == entity.keyring.fingerprint


def test_the_same_block_is_known_again_after_a_rotation(network, entity):
    (block,) = blocks(network.a, "confirmed")
    bits = network.qkde.blocks[block.block_id]
    entity.kek_rotation.begin()
    finish(entity)
    assert network.a.hand_over(block.block_id, "kme-a", bits).status_code == 204
    assert network.a.hand_over(block.block_id, "kme-a", bytes(len(bits))).status_code == 409


def test_a_block_is_confirmed_after_a_rotation_that_came_in_between(network, entity):
    block_id = uuid4()
    network.qkde.round(block_id, "kme-a")
    for site in (network.a, network.b):
        site.entity.kek_rotation.begin()
        finish(site.entity)
    confirm(network)
    assert block_id in [block.block_id for block in blocks(network.a, "confirmed")]


def test_the_former_kek_is_destroyed_and_does_not_come_back(network, entity, make_site, restarted):
    first = entity.keyring.fingerprint
    entity.kek_rotation.begin()
    second = entity.keyring.fingerprint
    assert not entity.keyring.folder.dropped() and entity.keyring.has(first)
    finish(entity)
    entity.kek_rotation.begin()
    finish(entity)
    third = entity.keyring.fingerprint
    assert files(entity) == sorted(
        [f"{first.hex()}.dropped", f"{second.hex()}.dropped", f"0002-{third.hex()}.kek", "lasting.key"]
    )
    restarted("kme-a")
    ring = network.a.entity.keyring
    assert ring.fingerprint == third and not ring.has(first) and not ring.has(second)
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in ring.folder.path.glob("*.k*"))
    assert_all_is_delivered(network)


def test_nothing_is_destroyed_while_a_delivery_may_still_unwrap(network, entity):
    now = [0.0]
    former = entity.keyring.fingerprint
    entity.kek_rotation.begin()
    work = KekRotation(entity.keystore, entity.keyring, lambda: now[0], unwrapped_within_s=15.0)
    for _ in range(30):
        work.step()
    assert fingerprints(entity) == {entity.keyring.fingerprint} and entity.keyring.has(former)
    now[0] = 15.0
    work.step()
    assert not entity.keyring.has(former)


def test_a_second_rotation_waits_for_the_first(network, entity):
    entity.kek_rotation.begin()
    assert network.a.operator.post("/v1/kek/rotation").status_code == 409
    finish(entity)
    assert network.a.operator.post("/v1/kek/rotation").status_code == 202


def test_what_one_scheduler_found_says_nothing_about_a_later_rotation(network, entity):
    slow = KekRotation(entity.keystore, entity.keyring, lambda: 0.0, unwrapped_within_s=0.0)
    entity.kek_rotation.begin()
    while slow._clean_at is None:
        slow.step()
    finish(entity)  # by another, which took over
    second = entity.keyring.fingerprint
    entity.kek_rotation.begin()
    slow.step()
    assert entity.keyring.has(second) and slow.status().retired == [second]
    finish(entity)
    assert_all_is_delivered(network)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, 12))
def test_a_crash_at_any_step_is_healed_by_starting_again(network, entity, restarted, step, after):
    places = [
        (entity.keystore, ("run", "claim")),
        (entity.keyring.folder, ("add", "drop")),
    ]
    crash_in(places, step, after)
    try:
        entity.kek_rotation.begin()
        finish(entity)
    except Crash:
        restarted("kme-a")
    entity = network.a.entity
    finish(entity)
    assert fingerprints(entity) == {entity.keyring.fingerprint}
    assert entity.keyring.fingerprint == entity.keystore._redis.get("kek")
    entity.kek_rotation.begin()
    finish(entity)
    assert_all_is_delivered(network)


def test_it_is_in_the_audit_trail_with_fingerprints_alone(network, entity):
    former = entity.keyring.fingerprint.hex()
    entity.kek_rotation.begin()
    finish(entity)
    while entity.audit.drain():
        pass
    new = entity.keyring.fingerprint.hex()
    (begun,), (done,) = (entity.audit.rows(0, 9, event) for event in ("kek_rotated", "kek_destroyed"))
    assert begun["detail"] == {"kek": new, "former": former}
    assert done["detail"] == {"kek": former, "rewrapped_count": 13}
    assert entity.audit.verify(0, 1000).findings == []


def test_a_kek_that_is_gone_too_early_is_not_taken_for_done(network, entity):
    former = entity.keyring.fingerprint
    entity.kek_rotation.begin()
    entity.keyring._initial = None
    entity.keyring._wraps.pop(former)
    with pytest.raises(Unavailable, match=f"{former.hex()} is gone"):
        rotation(entity).step()
    assert rotation(entity).status().retired == [former]


def test_a_key_store_from_before_a_rotation_is_given_up_and_filled_anew(network, entity):
    store, former = entity.keystore._redis, entity.keyring.fingerprint
    backup = {name: store.dump(name) for name in store.scan_iter()}
    entity.kek_rotation.begin()
    finish(entity)
    while entity.audit.drain():
        pass
    store.flushdb()
    for name, value in backup.items():
        store.restore(name, 0, value)
    assert network.a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").status_code == 503
    epoch = entity.witness_store.read().own.epoch
    network.step_until(lambda: entity.account().stored >= 20 * 256)
    assert entity.witness_store.read().own.epoch == epoch + 1
    assert not whatever_names(entity, former) and fingerprints(entity) == {entity.keyring.fingerprint}
    assert "before a rotation" in entity.witness_store.read().reason
    events = [row["event"] for row in entity.audit.rows(0, 1000)]
    told = [one for one in events if one.startswith("kek_") or one == "epoch_began"]
    assert told == ["epoch_began", "kek_rotated", "kek_destroyed", "kek_replaced", "epoch_began"]
    assert entity.audit.verify(0, 1000).findings == []
    assert len(pool_ids(network)) == 20
    assert_accounts(network)


def test_keys_for_additional_slaves_are_wrapped_anew_in_the_right_place(network):
    connected(network, "sae-a", "third-b", max_sae_id_count=2)
    connected(network, "sae-a", "third-a", max_sae_id_count=2)
    filled(network, 1)
    asked = {"additional_slave_SAE_IDs": ["third-a"]}
    (key,) = network.a.sae("sae-a").post("/api/v1/keys/third-b/enc_keys", json=asked).get_json()["keys"]
    for site in (network.a, network.b):
        site.entity.kek_rotation.begin()
        finish(site.entity)
    for sae_id in ("third-a", "third-b"):
        assert fetch(network, sae_id, "sae-a", [key]).get_json() == {"keys": [key]}


def test_without_a_folder_it_is_refused(network, entity):
    entity.keyring.folder = None
    with pytest.raises(Conflict, match="no folder"):
        entity.kek_rotation.begin()
