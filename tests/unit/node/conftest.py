"""Makes the helpers importable by the tests beside them, whatever import mode pytest runs in."""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.topology import SHIPPED, load

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def network(request, tmp_path, monkeypatch):
    """What `qkd-lab link` operates on: a link of single photons, or with what the test has as its parameter."""
    from operated_network import SINGLE_PHOTONS, Network

    network, topology = Network(tmp_path, getattr(request, "param", SINGLE_PHOTONS)), load(SHIPPED / "two-sites.toml")
    links = OperatorCalls(topology, lambda process: None)
    operator = SimpleNamespace(topology=topology, call=network.call, quantum_link=links.quantum_link)
    for name in ("qkd_lab.cli.link", "qkd_lab.cli.link_rounds", "qkd_lab.cli.link_watch"):
        monkeypatch.setattr(import_module(name), "Operator", lambda lab: operator)
    return network
