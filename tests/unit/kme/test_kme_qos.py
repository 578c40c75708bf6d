"""Priority, Min_bps and Max_bps: who gets what of a link's bits, without a store and with a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kme.errors import BadRequest
from kme.limits import check_connection
from kme.model import Connection
from kme.planning import Need
from kme.qos import Bucket, Claim, FillRates, shares

CONNECTION = Connection("kme-a", "kme-b", "sae-a", "sae-b", key_size_bits=256, max_key_count=1000)


def claim(count, owed=0, most=None, size=256, **qos):
    connection = replace(CONNECTION, key_size_bits=size, qos=qos)
    return Claim(Need(connection, count), count if most is None else most, owed)


@pytest.mark.parametrize(
    ("claims", "supply_keys", "expected"),
    [
        ([claim(10), claim(10)], 10, [5, 5]),
        ([claim(10), claim(10, Priority=1)], 10, [0, 10]),
        ([claim(10, Priority=1), claim(10, Priority=7), claim(10, Priority=7)], 15, [0, 7, 8]),
        ([claim(10, Priority=2), claim(4, Priority=3)], 10, [6, 4]),
        ([claim(10, Priority=0), claim(10)], 10, [5, 5]),
        # What Min_bps owes comes before any priority, and by priority among what is owed.
        ([claim(10, owed=3), claim(10, Priority=9)], 10, [3, 7]),
        ([claim(10, owed=8), claim(10, owed=8, Priority=9)], 10, [2, 8]),
        ([claim(10, owed=2), claim(10, owed=2)], 10, [5, 5]),
        ([claim(10, owed=2), claim(10)], 10, [6, 4]),
        # Max_bps leaves to the others.
        ([claim(10, most=2, Priority=9), claim(10)], 10, [2, 8]),
        ([claim(10, most=0), claim(5)], 10, [0, 5]),
        ([], 10, []),
    ],
)
def test_scarce_bits_go_to_what_is_owed_then_by_priority_then_alike(claims, supply_keys, expected):
    assert shares(claims, supply_keys * 256) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3), st.integers(1, 64)),
        max_size=6,
    ),
    st.integers(0, 10**5),
)
def test_no_claim_gets_more_than_it_may_and_nothing_is_wasted(drawn, supply_bits):
    claims = []
    for count, most, owed, priority, octets in drawn:
        most = min(count, most)
        claims.append(claim(count, min(owed, most), most, 8 * octets, Priority=priority))
    given_counts = shares(claims, supply_bits)
    used = sum(n * one.need.connection.key_size_bits for n, one in zip(given_counts, claims, strict=True))
    assert used <= supply_bits
    for n, one in zip(given_counts, claims, strict=True):
        assert 0 <= n <= one.most_count
        assert n == one.most_count or supply_bits - used < one.need.connection.key_size_bits


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 60))
def test_a_lower_priority_gets_only_what_the_higher_leaves(low, high, supply_keys):
    assert shares([claim(low), claim(high, Priority=1)], supply_keys * 256) == [
        min(low, max(0, supply_keys - high)),
        min(high, supply_keys),
    ]


def needing(count, **qos):
    return Need(replace(CONNECTION, qos=qos), count)


def test_without_rates_all_that_is_missing_is_allowed_and_nothing_is_owed():
    found = FillRates().claim(needing(100), 5.0)
    assert (found.most_count, found.least_count, found.priority) == (100, 0, 0)


def test_max_bps_allows_its_rate_and_after_a_pause_one_seconds_worth():
    rates, need = FillRates(), needing(100, Max_bps=2560)
    assert rates.claim(need, 0.0).most_count == 10
    rates.filled(need.connection, 10, 0.0)
    assert [rates.claim(need, at_s).most_count for at_s in (0.0, 0.1, 0.35, 1.0, 60.0)] == [0, 1, 3, 10, 10]
    rates.filled(need.connection, 4, 60.0)
    assert rates.claim(need, 60.0).most_count == 6


def test_a_rate_of_less_than_a_key_per_second_still_gives_a_key_now_and_then():
    rates, need = FillRates(), needing(100, Max_bps=64)
    given_count = 0
    for tick in range(401):
        n = rates.claim(need, tick / 10).most_count
        rates.filled(need.connection, n, tick / 10)
        given_count += n
    assert given_count == 1 + 40 * 64 // 256


@pytest.mark.parametrize("interval_s", [0.25, 1.0])
def test_over_a_long_time_max_bps_is_kept_whatever_the_demand(interval_s):
    rates, need, bits = FillRates(), needing(1000, Max_bps=10_000), 0
    for tick in range(int(100 / interval_s)):
        n = rates.claim(need, tick * interval_s).most_count
        rates.filled(need.connection, n, tick * interval_s)
        bits += 256 * n
    assert 0.97 * 100 * 10_000 <= bits <= 101 * 10_000


def test_min_bps_owes_the_last_ten_seconds_at_most():
    rates, need = FillRates(), needing(1000, Min_bps=2560)
    assert rates.claim(need, 0.0).least_count == 100
    rates.filled(need.connection, 100, 0.0)
    assert [rates.claim(need, at_s).least_count for at_s in (0.0, 1.0, 3.0, 60.0)] == [0, 10, 30, 100]
    assert rates.claim(needing(7, Min_bps=2560), 60.0).least_count == 7


def test_a_full_pool_that_got_more_than_it_was_owed_is_not_in_debt():
    rates, need = FillRates(), needing(1000, Min_bps=256)
    rates.claim(need, 0.0)
    rates.filled(need.connection, 500, 0.0)
    assert rates.claim(need, 2.0).least_count == 2


def test_what_is_owed_is_never_more_than_what_is_allowed():
    found = FillRates().claim(needing(1000, Min_bps=2560, Max_bps=2560), 0.0)
    assert (found.least_count, found.most_count) == (10, 10)


def test_a_changed_rate_counts_at_once_and_zero_is_none():
    rates = FillRates()
    rates.filled(needing(1, Max_bps=256).connection, 1, 0.0)
    assert rates.claim(needing(100, Max_bps=256), 0.0).most_count == 1
    assert rates.claim(needing(100, Max_bps=5120), 0.0).most_count == 20
    assert rates.claim(needing(100, Max_bps=0, Min_bps=0), 0.0) == Claim(needing(100, Max_bps=0, Min_bps=0), 100, 0)


def test_a_clock_that_goes_back_gives_no_tokens():
    bucket = Bucket(100, 1000)
    bucket.take(1000, 50.0)
    assert bucket.level_at(40.0) == 0 and bucket.level_at(41.0) == 100


def test_a_connection_is_not_promised_more_than_it_may_have():
    check_connection(replace(CONNECTION, qos={"Min_bps": 5, "Max_bps": 0}))
    check_connection(replace(CONNECTION, qos={"Min_bps": 5, "Max_bps": 5}))
    with pytest.raises(BadRequest, match="^Min_bps: expected at most Max_bps, which is 4, got 5$"):
        check_connection(replace(CONNECTION, qos={"Min_bps": 5, "Max_bps": 4}))
