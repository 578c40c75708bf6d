"""Many keys in several pools: as many as were asked for, and what is told is what is there."""

from types import SimpleNamespace

import pytest

from qkd_lab.bench import pool_sizes
from qkd_lab.bench.cells import LEAST_STORED, MOST_STORED
from qkd_lab.bench.pool import MOST_KEYS
from qkd_lab.bench.pool_sizes import measure_pool_sizes, shares


@pytest.mark.parametrize("size", [LEAST_STORED, 1001, MOST_KEYS, MOST_KEYS + 1, 250_001, 999_999, MOST_STORED])
def test_pools_have_as_many_keys_together_as_were_asked_for_and_none_too_few_or_too_many(size):
    found = shares(size)
    assert sum(found) == size and len(found) == -(-size // MOST_KEYS)
    assert min(found) >= LEAST_STORED and max(found) <= MOST_KEYS


class MadeUpPool:
    """Has one key more than it is to have."""

    def __init__(self, operator, link, capacity, say):
        self.capacity, self.most_at_once, self.stored = capacity, capacity // 2, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def fill(self, count):
        self.stored = self.capacity + 1

    def stored_key_count(self):
        return self.stored


def test_as_many_keys_are_told_as_there_are(monkeypatch, operator, tmp_path):
    asked = []
    monkeypatch.setattr(pool_sizes, "Pool", MadeUpPool)
    monkeypatch.setattr(
        pool_sizes, "Driver", lambda pool, *_: SimpleNamespace(drive=lambda cell: asked.append(pool.stored))
    )
    sizes = (1000, 100_001)
    found = measure_pool_sizes(operator, operator.topology.links[0], sizes, 1, 1, tmp_path, lambda _: None)
    assert [one.key_count for one in found] == [1001, 100_003] and asked == [1001, 50_001]
