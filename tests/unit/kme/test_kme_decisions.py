"""What a KME decides, apart from what it does: batches, watermarks, fair shares, pauses, ids of connections."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kme.batches import lay, refusal
from kme.confirmation import binding, tag
from kme.cutting import digest_of
from kme.errors import Conflict
from kme.model import Block, Connection
from kme.peer_wire import batch_in, batch_json
from kme.planning import BackOff, Need, Watermarks, fair_shares, is_short, whole_requests
from kme.records import refuse_contradiction

BLOCK = Block(uuid4(), "a-b", "kme-a", 10_000, "confirmed", cursor_bits=256)
CONNECTION = Connection("kme-a", "kme-b", "sae-a", "sae-b", key_size_bits=256, max_key_count=100)
BATCH = lay(BLOCK, CONNECTION, 256, 5)


def test_a_batch_is_laid_at_the_cursor_with_as_many_keys_as_fit():
    assert (BATCH.offset_bits, BATCH.end_bits, len(BATCH.key_ids)) == (256, 256 + 5 * 256, 5)
    rest = lay(replace(BLOCK, cursor_bits=BATCH.end_bits), CONNECTION, 256, 1000)
    assert rest.offset_bits == BATCH.end_bits
    assert len(rest.key_ids) == (10_000 - 6 * 256) // 256


def test_key_ids_are_random_uuids_of_version_4():
    again = lay(BLOCK, CONNECTION, 256, 5)
    assert not set(again.key_ids) & set(BATCH.key_ids)
    assert {one.version for one in again.key_ids} == {4}


def test_the_peer_takes_a_proper_batch():
    assert refusal(BATCH, BLOCK, CONNECTION, "kme-a") is None


@pytest.mark.parametrize(
    ("batch", "block", "connection", "sender", "said"),
    [
        ({}, {}, {}, "kme-c", "is not kme-c's"),
        ({}, {"owner_kme_id": "kme-b"}, {}, "kme-a", "is not kme-a's"),
        ({}, {"state": "received"}, {}, "kme-a", "is received, not confirmed"),
        ({}, {"state": "closed"}, {}, "kme-a", "is closed, not confirmed"),
        ({}, {}, {"source_kme_id": "kme-b", "target_kme_id": "kme-a"}, "kme-a", "does not start at kme-a"),
        ({"recipients": ("sae-x",)}, {}, {}, "kme-a", "recipients"),
        ({"recipients": ("sae-b", "sae-b")}, {}, {}, "kme-a", "recipients"),
        ({"recipients": ("sae-b", *map(str, range(33)))}, {}, {}, "kme-a", "recipients"),
        ({"recipients": ()}, {}, {}, "kme-a", "recipients lack the slave"),
        ({"slave_sae_id": "sae-x"}, {}, {}, "kme-a", "is not that of the two SAEs"),
        ({"key_size_bits": 4}, {}, {}, "kme-a", "multiple of 8"),
        ({"key_size_bits": 4104}, {}, {}, "kme-a", "multiple of 8"),
        ({"offset_bits": 248}, {}, {}, "kme-a", "not inside"),
        ({"offset_bits": 257}, {}, {}, "kme-a", "not inside"),
        ({"offset_bits": 10_000 - 5 * 256 + 8}, {}, {}, "kme-a", "not inside"),
        ({"key_ids": (BATCH.key_ids[0],) * 2}, {}, {}, "kme-a", "each once"),
        ({"key_ids": ()}, {}, {}, "kme-a", "one or more"),
    ],
)
def test_the_peer_refuses_what_the_protocol_does_not_allow(batch, block, connection, sender, said):
    reason = refusal(replace(BATCH, **batch), replace(BLOCK, **block), replace(CONNECTION, **connection), sender)
    assert said in reason


@pytest.mark.parametrize(
    "changes",
    [
        {"offset_bits": 512},
        {"key_size_bits": 128},
        {"connection_id": uuid4()},
        {"key_ids": BATCH.key_ids[::-1]},
        {"recipients": ("sae-c",)},
        {"own_recipients": ("sae-c",)},
    ],
)
def test_the_digest_of_a_batch_tells_whether_it_is_the_same_again(changes):
    assert digest_of(replace(BATCH)) == digest_of(BATCH)
    assert digest_of(replace(BATCH, **changes)) != digest_of(BATCH)


def test_a_batch_survives_the_wire():
    assert batch_in(json.dumps(batch_json(BATCH)).encode()) == BATCH


def test_the_two_tags_of_a_confirmation_differ_and_bind_everything_that_is_said():
    bits = bytes(range(64))
    changes = [{}, {"block_id": uuid4()}, {"owner_kme_id": "kme-b"}, {"link": "a-c"}, {"length_bits": 9_999}]
    changes += [{"binding": bytes(32)}, {"binding": binding(bits, b"file")}, {"binding": binding(bits, b"another")}]
    tags = {tag(bits, role, replace(BLOCK, **change)) for role in ("owner", "peer") for change in changes}
    assert len(tags) == 2 * len(changes)
    assert tag(bytes(64), "owner", BLOCK) not in tags


@pytest.mark.parametrize("changed", [0, 31, 32, 63])
def test_the_tag_of_a_confirmation_covers_every_bit_of_the_block(changed):
    bits = bytearray(range(64))
    before = tag(bytes(bits), "owner", BLOCK)
    bits[changed] ^= 1
    assert tag(bytes(bits), "owner", BLOCK) != before


def test_both_kmes_derive_the_same_connection_id_and_no_two_pairs_share_one():
    assert CONNECTION.connection_id == replace(CONNECTION, key_size_bits=8).connection_id
    pairs = [("a", "b"), ("b", "a"), ("a|b", "c"), ("a", "b|c"), ("", "a|b|c")]
    ids = {replace(CONNECTION, master_sae_id=m, slave_sae_id=s).connection_id for m, s in pairs}
    assert len(ids) == len(pairs)


def test_a_contradiction_names_the_member_and_both_values():
    refuse_contradiction(CONNECTION, replace(CONNECTION))
    with pytest.raises(Conflict, match="max_key_count: 100, not 200"):
        refuse_contradiction(CONNECTION, replace(CONNECTION, max_key_count=200))
    with pytest.raises(Conflict, match=r"qos: \{\}, not \{'TTL': 5\}"):
        refuse_contradiction(CONNECTION, replace(CONNECTION, qos={"TTL": 5}))


def test_filling_starts_below_the_low_watermark_and_goes_on_to_the_high_one():
    watermarks = Watermarks(0.5)
    assert watermarks.need(CONNECTION, 100) is None
    assert watermarks.need(CONNECTION, 50) is None
    assert watermarks.need(CONNECTION, 49) == Need(CONNECTION, 51)
    assert watermarks.need(CONNECTION, 80) == Need(CONNECTION, 20)
    assert watermarks.need(CONNECTION, 80, pending_count=20) is None
    assert watermarks.need(CONNECTION, 60) is None


def test_a_pool_seen_for_the_first_time_is_filled_wherever_it_is():
    assert Watermarks(0.5).need(CONNECTION, 90) == Need(CONNECTION, 10)


def test_keys_on_their_way_are_not_ordered_twice():
    assert Watermarks(0.5).need(CONNECTION, 0, pending_count=60) == Need(CONNECTION, 40)


def needs(*pairs):
    return [Need(replace(CONNECTION, key_size_bits=size), count) for size, count in pairs]


@pytest.mark.parametrize(
    ("wanted", "supply_bits", "shares"),
    [
        ([(256, 10), (256, 10)], 20 * 256, [10, 10]),
        ([(256, 10), (256, 10)], 10 * 256, [5, 5]),
        ([(256, 2), (256, 10)], 8 * 256, [2, 6]),
        ([(256, 10), (128, 10)], 4 * 256, [2, 4]),
        ([(256, 10), (256, 10)], 256, [0, 1]),
        ([(256, 10)], 0, [0]),
        ([], 1000, []),
    ],
)
def test_scarce_bits_are_shared_fairly(wanted, supply_bits, shares):
    assert fair_shares(needs(*wanted), supply_bits) == shares


@given(
    st.lists(st.tuples(st.integers(1, 64).map(lambda n: 8 * n), st.integers(1, 50)), max_size=6), st.integers(0, 10**5)
)
def test_shares_never_exceed_the_supply_nor_the_need_and_waste_nothing(wanted, supply_bits):
    all_needs = needs(*wanted)
    shares = fair_shares(all_needs, supply_bits)
    left = supply_bits - sum(
        share * need.connection.key_size_bits for share, need in zip(shares, all_needs, strict=True)
    )
    assert left >= 0
    for share, need in zip(shares, all_needs, strict=True):
        assert 0 <= share <= need.missing_count
        assert share == need.missing_count or left < need.connection.key_size_bits


@pytest.mark.parametrize(
    ("blocks_bits", "needed_bits", "reserve_bits", "wanted", "short"),
    [
        ([1000], 600, 400, [], False),
        ([1000], 600, 401, [], True),
        ([], 0, 0, [], False),
        ([1000, 1000], 0, 0, [(500, 4)], False),
        ([900, 1100], 0, 0, [(500, 4)], True),  # a key never spans two blocks
        ([1000, 1000], 1, 0, [(500, 4)], True),
        ([1000, 1000], 500, 0, [(500, 3), (8, 100)], False),
    ],
)
def test_a_link_is_short_where_its_blocks_cannot_give_what_is_needed_and_wanted(
    blocks_bits, needed_bits, reserve_bits, wanted, short
):
    assert is_short(blocks_bits, needed_bits, reserve_bits, wanted) is short


def test_bits_are_kept_for_the_largest_request_to_additional_slaves_of_each_connection():
    assert whole_requests([CONNECTION, replace(CONNECTION, max_sae_id_count=2, max_key_per_request=7)]) == [(256, 7)]


def test_pauses_double_up_to_the_longest_and_end_with_a_success():
    back_off = BackOff(0.5, 3.0)
    assert back_off.over(0.0)
    pauses = []
    for now_s in range(0, 50, 10):
        back_off.failed(now_s)
        pauses.append(next(p for p in (0.5, 1.0, 2.0, 3.0) if back_off.over(now_s + p)))
        assert not back_off.over(now_s + pauses[-1] - 0.01)
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]
    back_off.succeeded()
    assert back_off.over(40.0)
    back_off.failed(100.0)
    assert back_off.over(100.5)


def test_a_connection_id_is_the_same_in_every_version_of_the_program():
    assert CONNECTION.connection_id == UUID("0f1885ed-9c04-58d7-815d-c1bf70ff7ddf")
