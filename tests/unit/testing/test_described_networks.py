"""What a test says of its network, as a topology."""

import pytest

from qkd_lab.lab_folder import LabError
from qkd_lab.processes import services
from qkd_lab.testing import QKDNetwork
from qkd_lab.testing.described import Description
from qkd_lab.topology import load


def described(tmp_path, **arguments):
    file = tmp_path / "network.toml"
    file.write_text(Description(**arguments).to_toml())
    return load(file)


def test_two_sites_have_a_link_and_a_connection_each_way(tmp_path):
    found = described(tmp_path, key_size_bits=128, max_keys=7)
    assert [(link.name, link.physics.depolarizing) for link in found.links] == [("a-b", 0.0)]
    assert {(one.master, one.slave) for one in found.connections} == {("sae-a", "sae-b"), ("sae-b", "sae-a")}
    assert {(one.key_size_bits, one.max_keys) for one in found.connections} == {(128, 7)}


def test_sites_are_joined_in_pairs_unless_links_are_named(tmp_path):
    sites = ("a", "b", "c")
    assert [link.name for link in described(tmp_path, sites=sites).links] == ["a-b", "a-c", "b-c"]
    chain = described(tmp_path, sites=sites, links=("b-a", "b-c"))
    assert [(link.alice, link.bob) for link in chain.links] == [("b", "a"), ("b", "c")]
    assert ("sae-a", "sae-c") not in {(one.master, one.slave) for one in chain.connections}


def test_every_sae_of_a_site_is_connected_and_no_demo_runs(tmp_path):
    found = described(tmp_path, saes={"a": ["x", 'name "y"']})
    assert found.site("a").saes == ("x", 'name "y"')
    assert {one.master for one in found.connections} == {"x", 'name "y"', "sae-b"}
    assert {process.kind for process in services(found)} == {"qlink", "qkde", "kme", "scheduler"}


def test_without_fast_the_link_is_the_laboratory_s(tmp_path):
    physics = described(tmp_path, fast=False).link("a-b").physics
    assert (physics.loss_db, physics.depolarizing) == (1.0, 0.02)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"links": ["a-z"]}, "links: 'a-z' is not SITE-SITE of two of the sites a, b"),
        ({"saes": {"z": ["x"]}}, "saes: z is no site; the sites are a, b"),
        ({"seed": -1}, "seed: -1 is negative"),
        ({"prefilled": 11, "max_keys": 10}, "prefilled: 11 keys don't fit in a pool of 10"),
    ],
)
def test_a_network_that_can_t_be_is_refused_before_anything_starts(arguments, told):
    with pytest.raises(ValueError, match=told):
        QKDNetwork(embedded=True, **arguments)


def test_a_network_that_does_not_run_says_so():
    with pytest.raises(LabError, match="does not run: use `with QKDNetwork"):
        QKDNetwork(embedded=True).kme("a")
