"""Two KMEs that were given the same key-encryption key, so that it does not tell whose a key store is."""

from __future__ import annotations

import secrets

import pytest
from restore_steps import assert_service_is_back, epochs, exchange, give, step, take


@pytest.fixture
def keks():
    return dict.fromkeys(("kme-a", "kme-b"), secrets.token_bytes(32))


def test_swapped_key_stores_count_as_behind_and_what_they_hold_is_destroyed(running, stores, received):
    unfetched = exchange(running, received)
    step(running)
    own = {kme_id: one.redis.copy() for kme_id, one in stores.items()}
    for kme_id, other in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
        stores[kme_id].redis.restore(own[other])
    assert [take(running, received, master).status_code for master in ("sae-a", "sae-b")] == [503, 503]
    assert give(running, received, unfetched) == [503, 503]
    assert_service_is_back(running, received)
    assert epochs(running) == (2, 2)
    assert give(running, received, unfetched) == [400, 400]
