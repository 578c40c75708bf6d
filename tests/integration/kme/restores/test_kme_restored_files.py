"""Keys from files are kept like others: a restored site destroys them, and no file is used a second time."""

from __future__ import annotations

import secrets

import pytest
from restore_steps import assert_service_is_back, epochs, exchange, give, is_back, step, step_until

from kme.model import KeyFolder

SIZE = 20_000


@pytest.fixture
def folders(tmp_path):
    for kme_id in ("kme-a", "kme-b"):
        (tmp_path / kme_id).mkdir()
    return {kme_id: KeyFolder(tmp_path / kme_id, False) for kme_id in ("kme-a", "kme-b")}


def bring(folders, name: str) -> None:
    contents = secrets.token_bytes(SIZE)
    for folder in folders.values():
        (folder.path / name).write_bytes(contents)


def test_a_restored_site_uses_no_file_again_and_goes_on_with_the_next(network, folders, stores, received):
    bring(folders, "first.cor")
    step_until(network, lambda: is_back(network))
    exchange(network, received)
    copies = stores["kme-a"].copy()
    bring(folders, "second.cor")  # the copy of Postgres does not know that it was read
    unfetched = exchange(network, received)
    for _ in range(6):
        step(network)
    known = [site.entity.account().received for site in (network.a, network.b)]
    assert known == [2 * 8 * SIZE] * 2
    stores["kme-a"].restore("redis and postgres", copies)
    for _ in range(10):
        step(network)
    assert epochs(network) == (2, 1)
    assert give(network, received, unfetched) == [400, 400]
    for site in (network.a, network.b):
        assert site.entity.account().remainder == site.entity.account().stored == 0
    bring(folders, "third.cor")
    assert_service_is_back(network, received)
