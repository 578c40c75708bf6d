"""What the bench measures, and how what its generators saw is put together."""

import pytest

from qkd_lab.bench.cells import Load, matrix, together
from qkd_lab.bench.driver import parts


def load(count, elapsed_s=1.0, latencies=(1.0,), errors=None):
    return Load(count, count, elapsed_s, tuple(latencies), errors or {}, 0.5)


def test_every_combination_is_measured_once():
    cells = matrix(("enc_keys", "dec_keys"), (1, 128), ("keep-alive", "new"), (1, 8, 32, 128), 2000)
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 4


def test_of_several_keys_at_a_time_there_are_a_tenth_of_the_requests_and_one_for_each_client():
    cells = matrix(("enc_keys",), (1, 128), ("new",), (1, 128), 300)
    assert [(one.number, one.clients, one.request_count) for one in cells] == [
        (1, 1, 300),
        (1, 128, 300),
        (128, 1, 30),
        (128, 128, 128),
    ]


def test_a_cell_of_more_keys_than_a_pool_always_has_is_measured_in_parts():
    (cell,) = matrix(("enc_keys",), (128,), ("new",), (8,), 10_000)
    found = parts(cell, 50_000)
    assert sum(part.request_count for part in found) == cell.request_count == 1000
    assert all(part.key_count <= 50_000 for part in found) and len(found) == 3


@pytest.mark.parametrize("requests, counts", [(3910, [196, 195]), (3900, [390]), (7810, [261, 260, 260])])
def test_parts_are_of_nearly_equal_size_and_have_all_clients(requests, counts):
    (cell,) = matrix(("enc_keys",), (128,), ("keep-alive",), (8,), requests)
    found = parts(cell, 50_000)
    assert [part.request_count for part in found] == counts and {part.clients for part in found} == {8}


def test_parts_are_one_load_with_the_percentiles_of_all_and_the_sum_of_errors():
    one = together([load(100, 2.0, range(1, 51), {"503": 1}), load(100, 3.0, range(51, 101), {"503": 2, "429": 1})])
    assert (one.request_count, one.elapsed_s, one.per_s) == (200, 5.0, 40.0)
    assert [one.percentile_ms(percent) for percent in (50, 95, 99)] == [50, 95, 99]
    assert one.errors == {"503": 3, "429": 1} and one.error_count == 4 and one.generator_cpu_s == 1.0


def test_the_rate_is_that_of_answered_requests():
    refused = Load(100, 40, 2.0, (1.0,), {"429": 60}, 0.5)
    assert refused.per_s == 20.0
    both = together([refused, load(100, 3.0)])
    assert (both.request_count, both.answered_count, both.per_s) == (200, 140, 28.0)


def test_a_part_that_nothing_was_answered_in_has_no_part_in_the_percentiles():
    one = together([Load(100, 0, 1.0, (), {"503": 100}, 0.5), load(100, latencies=[7.0])])
    assert one.percentile_ms(50) == 7.0 and one.per_s == 50.0


def test_a_small_part_counts_no_more_than_its_requests():
    """`ab` gives 101 latencies however many requests there were."""
    one = together([load(390, latencies=[1.0] * 101), load(10, latencies=[50.0] * 101)])
    assert [one.percentile_ms(percent) for percent in (50, 95, 97, 99)] == [1.0, 1.0, 1.0, 50.0]


@pytest.mark.parametrize("percent", [1, 50, 99])
def test_a_percentile_of_one_answer_is_that_answer_and_of_none_is_nothing(percent):
    assert load(1, latencies=[7.0]).percentile_ms(percent) == 7.0
    assert load(1, latencies=[]).percentile_ms(percent) is None
