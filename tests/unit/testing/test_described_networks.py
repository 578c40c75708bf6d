"""What a test says of its network, as a topology."""

import pytest

from qkd_lab.lab_folder import LabError
from qkd_lab.processes import services
from qkd_lab.testing import QKDNetwork, arguments
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
        ({"links": "a-b"}, "links: expected a list of texts"),
        ({"sites": {"a", "b"}}, "sites: expected a list of texts"),
        ({"sites": 3}, "sites: expected a list of texts, as .'a', 'b'., got 3"),
        ({"sites": ["a", "A B"]}, "key name: expected up to 32 of a-z"),
        ({"sites": ["a", "a"]}, "expected each once, got 'a' more than once"),
        ({"saes": {"z": ["x"]}}, "saes: z is no site; the sites are a, b"),
        ({"saes": {"a": "xy"}}, "saes.'a'.: expected a list of texts"),
        ({"saes": ["x"]}, "saes: expected lists of texts by site"),
        ({"key_size_bits": 7}, "key_size_bits: expected a multiple of 8 from 8 to 4096, got 7"),
        ({"max_keys": 0}, "max_keys: expected an integer from 1 to 100000, got 0"),
        ({"max_keys": "x"}, "max_keys: expected an integer"),
        ({"fast": "no"}, "fast: expected True or False, got 'no'"),
        ({"embedded": "no"}, "embedded: expected True or False"),
        ({"seed": -1}, "seed: expected an integer from 0 to 2147483647, got -1"),
        ({"seed": True}, "seed: expected an integer"),
        ({"seed": 1.5}, "seed: expected an integer"),
        ({"seed": 4, "environment": {"QKD_SEED": "3"}}, "seed: it is in the environment, too, as QKD_SEED"),
        ({"environment": {"QKD_WORKERS": 2}}, "environment.'QKD_WORKERS'.: expected a text, got 2"),
        ({"environment": {"QKD_WORKERS": "banana"}}, "QKD_WORKERS"),
        ({"environment": {"QKD_WORKRS": "2"}}, "did you mean QKD_WORKERS"),
        ({"environment": {"QKD_TOPOLOGY": "x"}}, "QKD_TOPOLOGY is another for each process"),
        ({"environment": {"A=B": "x"}}, "'A=B' is no name of a variable"),
        ({"environment": ["x"]}, "environment: expected texts by name"),
        ({"prefilled": 11, "max_keys": 10}, "prefilled: 11 keys don't fit in a pool of 10"),
        ({"prefilled": 1.5}, "prefilled: expected an integer"),
        ({"prefilled": 2000, "topology": "two-sites"}, "prefilled: 2000 keys don't fit in a pool of 1000"),
        (
            {"topology": "two-sites", "max_keys": 7, "fast": True},
            "topology: it says all of this: leave max_keys, fast out",
        ),
        (
            {"topology": "nope"},
            "topology: nope can't be read .No such file or directory.: expected a TOML file, or one of",
        ),
        ({"topology": 5}, "topology: expected the path of a TOML file"),
        ({"topology": "/etc/hostname"}, "topology: not a TOML file|topology: table"),
    ],
)
def test_a_network_that_can_t_be_is_refused_before_anything_starts(arguments, told):
    with pytest.raises(ValueError, match=told):
        QKDNetwork(**{"embedded": True, **arguments})


def test_a_setting_of_this_process_that_can_t_be_is_found_before_anything_starts(monkeypatch):
    monkeypatch.setenv("QKD_WORKERS", "banana")
    with pytest.raises(ValueError, match="environment: .*QKD_WORKERS.*banana"):
        QKDNetwork(embedded=True)
    QKDNetwork()  # a container does not have it


def test_a_kme_has_one_worker_unless_somebody_says_otherwise():
    def workers(environment, inherited):
        found = arguments.settings(environment, None, inherited)
        return {**inherited, **found}["QKD_WORKERS"]

    assert workers(None, {}) == "1" and workers(None, {"QKD_WORKERS": ""}) == "1"
    assert workers({"QKD_WORKERS": "3"}, {}) == "3"
    assert workers(None, {"QKD_WORKERS": "4"}) == "4"
    assert workers({"QKD_WORKERS": "3"}, {"QKD_WORKERS": "4"}) == "3"


def test_sites_without_links_have_none(tmp_path):
    assert described(tmp_path, links=()).links == ()


def test_a_network_that_does_not_run_says_so():
    network = QKDNetwork(embedded=True)
    assert not network.is_running()
    for asked in (lambda: network.kme("a"), network.logs):
        with pytest.raises(LabError, match="does not run"):
            asked()
