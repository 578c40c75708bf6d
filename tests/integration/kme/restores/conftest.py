"""Each site has a Redis server of its own here, whose files can be copied and put back."""

from __future__ import annotations

import pytest
from restore_steps import Stores
from store_copies import PostgresCopies, RedisCopies


@pytest.fixture(scope="module")
def redis_servers(embedded_servers, launcher):
    ids = ("kme-a", "kme-b")
    servers = {kme_id: RedisCopies(embedded_servers, f"redis-of-{kme_id}", launcher) for kme_id in ids}
    for one in servers.values():
        one.start()
    yield servers
    for one in servers.values():
        one.kill()


@pytest.fixture
def redis_urls(redis_servers):
    return {kme_id: one.url for kme_id, one in redis_servers.items()}


@pytest.fixture
def stores(redis_servers, databases) -> dict[str, Stores]:
    return {
        kme_id: Stores(one, PostgresCopies(databases[kme_id.replace("-", "_")]))
        for kme_id, one in redis_servers.items()
    }
