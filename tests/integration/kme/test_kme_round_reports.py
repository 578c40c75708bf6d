"""A round's report at the KME that ordered it: kept as it came, with its provenance, and found by its block."""

from __future__ import annotations

import json

import pytest

# Numbers as a provenance record has them: what a database makes of them must be what they were.
PROVENANCE = {
    "epsilon": {"secrecy": 1e-10, "correctness": 1e-15, "authentication": 1.6566476985008662e-33, "sum": 1.00001e-10},
    "parameters": {"intensities": [0.6, 0.2, 0.0], "key_basis_probability": 0.9},
    "counts": {"key_detected": [578083, 164120, 1]},
    "digests": {"record": "sha256:08f4d4fd"},
}


@pytest.fixture
def ordered(network, monkeypatch):
    """A network of which KME a has ordered a round; its block's id."""
    plain = type(network.qkde).round

    def with_provenance(self, block_id, owner):
        return plain(self, block_id, owner) | {"provenance": PROVENANCE}

    monkeypatch.setattr(type(network.qkde), "round", with_provenance)
    network.step_until(lambda: bool(network.qkde.blocks))
    return str(next(iter(network.qkde.blocks)))


def reports(site, block_id):
    return site.operator.get(f"/v1/reports?block_id={block_id}")


def test_a_blocks_report_is_kept_with_its_provenance_to_the_last_digit(network, ordered):
    (report,) = reports(network.a, ordered).get_json()
    assert report["block_id"] == ordered and report["outcome"] == "key"
    assert json.dumps(report["provenance"], sort_keys=True) == json.dumps(PROVENANCE, sort_keys=True)


def test_a_kme_has_the_reports_of_the_rounds_it_ordered_and_no_others(network, ordered):
    assert network.qkde.orders[0] == "kme-a"
    assert reports(network.b, ordered).get_json() == []
    assert reports(network.a, "00000000-0000-0000-0000-000000000001").get_json() == []


@pytest.mark.parametrize("block_id", ["", "x", "00000000"])
def test_what_is_no_block_id_is_refused_by_name(network, block_id):
    answer = reports(network.a, block_id)
    assert answer.status_code == 400 and "block_id in the query: expected a UUID" in answer.get_json()["message"]
    assert network.a.operator.get("/v1/reports").status_code == 400
