"""Keys for additional slaves (ETSI GS QKD 014 table 10): the same key to each, all or nothing, each copy once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from kme.errors import Unavailable
from kme.model import Connection, KeyRequest

from administration_steps import events
from kme_steps import (
    ask,
    assert_accounts,
    connected,
    fetch,
    last_batch,
    new_batch,
    post,
)

NOT_FOUND = {"message": "one or more keys specified are not found on KME"}
ALL = ["third-a", "third-b"]


@pytest.fixture
def wide(network):
    """The lab with blocks at hand, and main → other for up to three more SAEs, of both KMEs."""
    connected(network, "sae-a", "other", max_sae_id_count=3)
    for site, sae_id in ((network.a, "third-a"), (network.b, "third-b")):
        assert site.operator.post("/v1/saes", json={"sae_id": sae_id}).status_code == 201
    network.step_until(lambda: supply(network) >= 16_384)
    return network


def supply(network) -> int:
    return network.a.entity.block_records.uncut_key_count("kme-a", "a-b", 1)


def requests(network, state):
    return network.a.entity.request_records.unsettled("a-b", state)


def void_calls(network):
    return [path for _, path, _ in network.a.peers["kme-b"].calls if path.endswith("/void")]


def test_each_recipient_gets_the_identical_keys_once_whoever_is_first(wide):
    answer = ask(wide, "sae-a", "other", number=3, additional_slave_SAE_IDs=ALL)
    assert answer.status_code == 200
    keys = answer.get_json()["keys"]
    assert len({key["key"] for key in keys}) == 3
    for sae_id in ("third-a", "other", "third-b"):
        assert fetch(wide, sae_id, "sae-a", keys).get_json() == {"keys": keys}
        again = fetch(wide, sae_id, "sae-a", keys)
        assert (again.status_code, again.get_json()) == (400, NOT_FOUND)
        assert_accounts(wide)
    for site in (wide.a, wide.b):
        account = site.entity.account()
        assert (account.copied, account.delivered) == (3 * 256, 2 * 3 * 256)


def test_keys_of_two_connections_fetched_at_once_are_in_the_audit_trail_under_each(wide):
    connected(wide, "sae-a", "third-b")
    catalogue = wide.a.entity.catalogue
    wide.step_until(lambda: wide.a.entity.pool_count(catalogue.between("sae-a", "third-b")))
    shared = ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    own = ask(wide, "sae-a", "third-b", number=1).get_json()["keys"]
    assert fetch(wide, "third-b", "sae-a", [shared[0], own[0], shared[1]]).status_code == 200
    assert fetch(wide, "other", "sae-a", shared).status_code == 200
    of_shared, of_own = (
        str(Connection("kme-a", "kme-b", "sae-a", slave).connection_id) for slave in ("other", "third-b")
    )
    delivered = [(row["connection_id"], row["sae_id"], ids_in(row)) for row in events(wide.b, "keys_delivered")]
    shared_ids, own_ids = ({key["key_ID"] for key in keys} for keys in (shared, own))
    first = [(of_shared, "third-b", shared_ids), (of_own, "third-b", own_ids)]
    assert delivered == [*first, (of_shared, "other", shared_ids)]
    assert [row["bits"] for row in events(wide.b, "keys_delivered")] == [512, 256, 512]
    assert [row.get("consumed", False) for row in events(wide.b, "keys_delivered")] == [False, True, True]
    assert not events(wide.b, "keys_consumed"), "said twice"
    assert_accounts(wide)


def test_the_connection_of_keys_is_told_once_where_it_is_one_whoever_else_may_fetch_them(wide, monkeypatch):
    """To read its id again for each key would take as long as to decrypt one."""
    wide.step_until(lambda: wide.a.entity.pool_count(wide.a.entity.catalogue.between("sae-a", "other")))
    keys = ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    keys += ask(wide, "sae-a", "other", number=1).get_json()["keys"]
    keystore, answers = wide.b.entity.keystore, []
    run = keystore.run
    monkeypatch.setattr(keystore, "run", lambda *script: answers.append(run(*script)) or answers[-1])
    assert fetch(wide, "other", "sae-a", keys).get_json() == {"keys": keys}
    ((outcome, connections, *copies),) = answers
    assert (outcome, len(connections), len(copies)) == (b"ok", 1, 3)


def test_of_keys_fetched_at_once_those_that_others_still_wait_for_are_not_consumed(wide):
    wide.step_until(lambda: wide.a.entity.pool_count(wide.a.entity.catalogue.between("sae-a", "other")))
    (shared,) = ask(wide, "sae-a", "other", number=1, additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    (own,) = ask(wide, "sae-a", "other", number=1).get_json()["keys"]
    assert fetch(wide, "other", "sae-a", [shared, own]).get_json() == {"keys": [shared, own]}
    (delivered,), (consumed,) = (events(wide.b, f"keys_{what}") for what in ("delivered", "consumed"))
    assert "consumed" not in delivered and ids_in(delivered) == {shared["key_ID"], own["key_ID"]}
    assert ids_in(consumed) == {own["key_ID"]} and consumed["connection_id"] == delivered["connection_id"]
    assert wide.b.entity.lifecycle.life(UUID(shared["key_ID"])).state == "DELIVERED"
    assert wide.b.entity.lifecycle.life(UUID(own["key_ID"])).state == "CONSUMED"


def ids_in(row) -> set[str]:
    return set(row["key_ids"])


def test_only_the_named_saes_are_entitled_and_nobody_loses_a_key_by_the_others_attempts(wide):
    keys = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    for stranger in ("sae-b", "sae-a"):
        assert fetch(wide, stranger, "sae-a" if stranger == "sae-b" else "sae-b", keys).status_code == 401
    assert fetch(wide, "third-a", "sae-a", keys).status_code == 400  # no connection, nothing of it is its own
    assert fetch(wide, "third-b", "sae-b", keys).get_json() == NOT_FOUND  # another master's path
    for sae_id in ("other", "third-b"):
        assert fetch(wide, sae_id, "sae-a", keys).get_json() == {"keys": keys}


def test_an_additional_slave_asking_for_a_foreign_key_too_gets_401_and_keeps_its_own(wide):
    mine = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    foreign = ask(wide, "sae-a", "sae-b").get_json()["keys"]
    assert fetch(wide, "third-b", "sae-a", mine + foreign).status_code == 401
    assert fetch(wide, "third-b", "sae-a", mine).get_json() == {"keys": mine}
    assert fetch(wide, "sae-b", "sae-a", foreign).get_json() == {"keys": foreign}


def test_the_master_may_name_itself(wide):
    keys = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["sae-a"]).get_json()["keys"]
    assert fetch(wide, "sae-a", "sae-a", keys).get_json() == {"keys": keys}
    assert fetch(wide, "sae-a", "sae-a", keys).get_json() == NOT_FOUND
    assert_accounts(wide)


def test_multicast_leaves_the_connections_pool_alone_and_takes_another_size(wide):
    before = wide.a.entity.keystore.account()["stored"]
    keys = ask(wide, "sae-a", "other", size=512, number=10, additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    assert fetch(wide, "third-b", "sae-a", keys).get_json() == {"keys": keys}
    assert wide.a.entity.keystore.account()["stored"] == before
    assert not list(wide.a.entity.keystore._redis.scan_iter("pool:*:512"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["nobody"], "SAE nobody is not registered at kme-a or kme-b; a third KME can't be reached"),
        (["third-a", "third-a"], "each SAE once"),
        (["other"], "is the slave of the path already"),
        (["third-a", "third-b", "sae-a", "sae-b"], "expected at most 3, got 4"),
        ([""], "expected an SAE id"),
    ],
)
def test_what_cannot_be_reached_is_refused_before_anything_is_cut(wide, named, said):
    before = supply(wide)
    answer = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=named)
    assert answer.status_code == 400 and said in answer.get_json()["message"]
    assert supply(wide) == before and not requests(wide, "recorded")


def test_the_peer_is_asked_for_an_sae_once_in_a_while_and_an_unknown_one_every_time(wide):
    def asked():
        return [path for _, path, _ in wide.a.peers["kme-b"].calls].count("/v1/saes")

    now = [0.0]
    wide.a.entity.directory._clock = lambda: now[0]
    for _ in range(2):
        assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 200
    assert asked() == 1
    now[0] = 31.0
    ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"])
    assert asked() == 2
    for _ in range(2):
        ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["nobody"])
    assert asked() == 4


def test_without_the_peer_nothing_is_cut_and_the_answer_is_503(wide):
    before = supply(wide)
    wide.a.peers["kme-b"].faults = ["refuse"]
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 503
    assert supply(wide) == before


def test_too_few_bits_give_503_that_says_how_many_and_burn_nothing(wide):
    burned = wide.a.entity.account().burned
    wide.qkde.abort_reason = "no more"
    answer = ask(wide, "sae-a", "other", size=4096, number=10, additional_slave_SAE_IDs=["third-b"])
    while answer.status_code == 200:
        answer = ask(wide, "sae-a", "other", size=4096, number=10, additional_slave_SAE_IDs=["third-b"])
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert 0 <= answer.get_json()["details"][0]["available_key_count"] < 10
    assert wide.a.entity.account().burned == burned
    wide.qkde.abort_reason = None
    largest = {"number": 10, "additional_slave_SAE_IDs": ["third-b"]}
    wide.step_until(lambda: ask(wide, "sae-a", "other", **largest).status_code == 200)
    assert_accounts(wide)


def test_a_request_larger_than_the_reserve_is_served_once_the_scheduler_has_gathered_enough(wide):
    wide.qkde.length_bits = 20_000
    large = {"size": 4096, "number": 10, "additional_slave_SAE_IDs": ["third-b"]}
    answers = []

    def served():
        answers.append(ask(wide, "sae-a", "other", **large))
        return answers[-1].status_code == 200 and len(answers) > 3

    wide.step_until(served, 60)
    assert {answer.status_code for answer in answers} == {200, 503}
    wide.step(3)
    ordered = len(wide.qkde.orders)
    for _ in range(5):  # once it was served, no more than the reserve is kept
        wide.step()
    assert len(wide.qkde.orders) == ordered
    assert_accounts(wide)


def test_a_request_that_other_cuts_left_too_few_bits_for_is_voided_whole(wide, monkeypatch):
    records = wide.a.entity.block_records
    monkeypatch.setattr(records, "uncut_key_count", lambda *_: 10**6)  # as if they came between looking and cutting
    wide.qkde.abort_reason = "no more"
    burned = [site.entity.account().burned for site in (wide.a, wide.b)]
    answer = ask(wide, "sae-a", "other", size=4096, number=10, additional_slave_SAE_IDs=ALL)
    while answer.status_code == 200:
        answer = ask(wide, "sae-a", "other", size=4096, number=10, additional_slave_SAE_IDs=ALL)
    cut_count = answer.get_json()["details"][0]["available_key_count"]
    assert answer.status_code == 503 and 0 < cut_count < 10
    assert not requests(wide, "recorded") and not requests(wide, "voiding")
    # At a, the master's copies and one SAE's; at b, two SAEs'. No bit of it comes back into a block.
    for site, before in zip((wide.a, wide.b), burned, strict=True):
        assert site.entity.account().burned == before + 2 * cut_count * 4096
    assert_accounts(wide)


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_keys_whose_batch_got_no_answer_are_voided_at_both_kmes(wide, fault):
    peer = wide.a.peers["kme-b"]
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 200  # who is where is known now
    stored = counted(wide)
    peer.faults = [fault]
    assert ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=ALL).status_code == 503
    assert counted(wide) == stored and len(void_calls(wide)) == 1
    late = post(wide, "/v1/batches", next(body for _, path, body in peer.calls[::-1] if path == "/v1/batches"))
    assert late.status_code == 409 and "voided" in late.get_json()["message"]
    assert_accounts(wide)


def counted(network):
    return [site.entity.account().stored for site in (network.a, network.b)]


def test_keys_cut_for_a_caller_that_has_gone_are_voided(wide):
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 200
    stored, delivered = counted(wide), wide.a.entity.account().delivered
    gone = KeyRequest(2, None, tuple(ALL))
    with pytest.raises(Unavailable, match="the caller has gone"):
        wide.a.entity.delivery.enc_keys("sae-a", "other", gone, lambda: False)
    assert counted(wide) == stored and wide.a.entity.account().delivered == delivered
    assert not requests(wide, "recorded") and not requests(wide, "voiding")
    keys = [{"key_ID": one} for one in last_batch(wide)["key_ids"]]
    assert fetch(wide, "third-b", "sae-a", keys).get_json() == NOT_FOUND
    assert_accounts(wide)


def test_what_cannot_be_voided_now_is_voided_by_the_scheduler(wide):
    peer = wide.a.peers["kme-b"]
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=ALL).status_code == 200
    stored = counted(wide)
    peer.faults = ["lose", "refuse"]
    assert ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=ALL).status_code == 503
    assert len(requests(wide, "voiding")) == 1
    wide.a.scheduler.step()
    assert not requests(wide, "voiding") and len(void_calls(wide)) == 2
    assert counted(wide)[1] == stored[1]
    assert_accounts(wide)


def test_a_batch_that_the_peer_refuses_gives_503_and_its_bits_are_burned(wide):
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 200
    # The peer has cut the next range already, by whatever mistake.
    assert post(wide, "/v1/batches", new_batch(wide)).status_code == 200
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 503
    assert not requests(wide, "recorded") and not requests(wide, "voiding")
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 200
    assert_accounts(wide)


def test_an_sae_that_has_gone_from_the_peer_costs_one_batch_at_most(wide):
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 200
    assert wide.b.operator.delete("/v1/saes/third-b").status_code == 200
    burned = wide.a.entity.account().burned
    assert ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 503
    for _ in range(2):
        answer = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"])
        assert answer.status_code == 400 and "third-b is not registered" in answer.get_json()["message"]
    assert wide.a.entity.account().burned == burned + 256
    assert_accounts(wide)


def test_voiding_again_is_answered_again_and_leaves_what_was_delivered(wide):
    keys = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    batch = last_batch(wide)
    assert fetch(wide, "other", "sae-a", keys).status_code == 200
    delivered = wide.b.entity.account().delivered
    for _ in range(2):
        answer = post(wide, f"/v1/batches/{batch['batch_id']}/void", batch)
        assert (answer.status_code, answer.get_json()) == (200, {"state": "voided"})
    assert wide.b.entity.account().delivered == delivered
    assert fetch(wide, "third-b", "sae-a", keys).get_json() == NOT_FOUND
    assert_accounts(wide)


@pytest.mark.parametrize(
    ("changes", "sender", "status"),
    [
        ({"block_id": "5f0c1b9e-0000-4000-8000-000000000000"}, "kme-a", 409),
        ({}, "kme-z", 401),
        ({"offset_bits": 8}, "kme-a", 409),
    ],
)
def test_the_peer_voids_only_the_senders_own_batches(wide, changes, sender, status):
    keys = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).get_json()["keys"]
    batch = last_batch(wide)
    assert post(wide, f"/v1/batches/{batch['batch_id']}/void", batch | changes, sender).status_code == status
    assert post(wide, "/v1/batches/5f0c1b9e-0000-4000-8000-000000000000/void", batch).status_code == 400
    assert fetch(wide, "third-b", "sae-a", keys).status_code == 200


def test_a_recipient_that_the_peer_does_not_know_is_refused_by_it_too(wide):
    ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"])
    answer = post(wide, "/v1/batches", new_batch(wide, recipients=["other", "stranger"]))
    assert answer.status_code == 409 and "stranger is not registered" in answer.get_json()["message"]


def test_many_requests_at_once_share_no_key_and_leave_no_pool_behind(wide):
    def take(_):
        return ask(wide, "sae-a", "other", number=2, additional_slave_SAE_IDs=["third-b", "third-a"])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(take, range(12)))
    keys = [key for answer in answers if answer.status_code == 200 for key in answer.get_json()["keys"]]
    assert len({key["key_ID"] for key in keys}) == len({key["key"] for key in keys}) == len(keys) > 0
    for sae_id in ("other", "third-b", "third-a"):
        assert fetch(wide, sae_id, "sae-a", keys).get_json() == {"keys": keys}
    assert_accounts(wide)


def test_a_slave_fetching_before_its_master_has_its_key_all_the_same(wide, monkeypatch):
    """And the request that failed after all can't take it back: it counts as delivered, the rest is burned."""
    entity = wide.a.entity
    fetched = []

    def fail(*_, **__):
        batch = last_batch(wide)
        fetched.append(fetch(wide, "other", "sae-a", [{"key_ID": one} for one in batch["key_ids"]]))
        raise Unavailable("Redis does not answer: TimeoutError")

    monkeypatch.setattr(entity.keystore, "take_keys", fail)
    answer = ask(wide, "sae-a", "other", additional_slave_SAE_IDs=["third-b"])
    monkeypatch.undo()
    assert answer.status_code == 503 and fetched[0].status_code == 200
    assert wide.b.entity.account().delivered == 256
    assert not requests(wide, "recorded") and not requests(wide, "voiding")
    assert_accounts(wide)
