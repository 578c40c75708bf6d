"""The bench's own connection: nothing of it is left, whatever becomes of it."""

import pytest

from kme.errors import Unavailable
from qkd_lab.bench import pool as pools
from qkd_lab.bench.pool import Pool
from qkd_lab.lab_folder import LabError
from sae_demo.etsi_client import KmeRefused, KmeUnreachable


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(pools, "POLL_S", 0)


def left_of(operator):
    """What there is of the bench in the lab's folder."""
    return [path for path in operator.lab.path.rglob("*") if "bench" in path.name]


def test_two_saes_and_their_connection_go_with_their_certificates_and_key_files(operator, deleted):
    operator.stored = iter([0, 400, 1000])
    with Pool(operator, operator.topology.links[0], 1000, lambda _: None) as pool:
        pool.fill(500)
        files = [path for path in left_of(operator) if path.suffix == ".cor"]
        assert {path.parent.name for path in files} == {"a", "b"} and len({path.read_bytes() for path in files}) == 1
        assert (operator.lab.identity(pool.master.id) / "key.pem").exists()
    assert deleted() == [f"/v1/saes/{sae.id}" for sae in (pool.master, pool.slave)]
    assert left_of(operator) == []


def test_what_was_made_goes_also_where_the_rest_is_refused(operator, deleted):
    operator.refused = "/register_connection"
    with pytest.raises(LabError), Pool(operator, operator.topology.links[0], 1000, lambda _: None):
        pass
    assert len(deleted()) == 2 and left_of(operator) == []


@pytest.mark.parametrize(
    "error", [KmeRefused(503, "too few keys"), KmeUnreachable("no answer"), Unavailable("no Redis")]
)
def test_what_a_kme_or_its_store_refuses_ends_the_bench_in_one_line(operator, deleted, error):
    with pytest.raises(LabError) as raised, Pool(operator, operator.topology.links[0], 1000, lambda _: None):
        raise error
    assert str(error) in str(raised.value) and len(deleted()) == 2


def test_nothing_is_made_where_a_kme_is_not_well(operator):
    operator.refused = "/healthz"
    with pytest.raises(LabError), Pool(operator, operator.topology.links[0], 1000, lambda _: None):
        pass
    assert [method for _, method, *_ in operator.calls] == ["GET"] and left_of(operator) == []


def test_nobody_cuts_more_keys_while_something_is_measured(operator):
    operator.stored = iter([0, 999, 1000])
    with Pool(operator, operator.topology.links[0], 1000, lambda _: None) as pool:
        pool.fill(500)
        allowed = [body["max_keys_count"] for _, method, _, body in operator.calls if method == "PATCH"]
    assert allowed == [1000, 128]  # as many as it is to have, and then so few that it has more


def test_a_pool_that_has_enough_is_left_alone(operator):
    operator.stored = iter([500])
    with Pool(operator, operator.topology.links[0], 1000, lambda _: None) as pool:
        pool.fill(500)
    assert not [call for call in operator.calls if call[1] == "PATCH"]


def test_a_pool_that_gets_no_more_keys_is_not_waited_for_for_ever(operator, monkeypatch):
    monkeypatch.setattr(pools, "PROGRESS_WITHIN_S", -1.0)
    operator.stored = iter([0, 7])
    with (
        pytest.raises(LabError, match="has 7 of 1,000 keys"),
        Pool(operator, operator.topology.links[0], 1000, lambda _: None) as pool,
    ):
        pool.fill(500)


def test_what_could_not_be_removed_is_said(operator):
    said = []
    with Pool(operator, operator.topology.links[0], 1000, said.append) as pool:
        operator.refused = f"/v1/saes/{pool.master.id}"
    assert len(said) == 1 and pool.master.id in said[0] and "qkd-lab sae remove" in said[0]
