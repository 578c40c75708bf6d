"""A pytest plug-in: the fixtures `qkd_network` and `fresh_qkd_network`, the marker `qkd_fault`, logs of failed tests.

It is installed with the package; docs/testing.md shows its use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qkd_lab.testing import QKDNetwork

RUNNING = pytest.StashKey[list["QKDNetwork"]]()
SHOWN_CHARACTERS = 20_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("qkd", "QKD network")
    group.addoption("--qkd-embedded", action="store_true", help="QKD networks run on this host, without Docker")
    group.addoption("--qkd-topology", metavar="FILE", help="TOML file, or a shipped one's name, of the QKD networks")
    parser.addini("qkd_embedded", "QKD networks run on this host, without Docker", type="bool", default=False)
    parser.addini("qkd_topology", "TOML file, or a shipped one's name, of the QKD networks", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "qkd_fault(site, **knobs): faults at the KME of a site while the test runs (docs/faults.md)"
    )
    config.stash[RUNNING] = []


@pytest.fixture(scope="session")
def qkd_network_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Arguments of QKDNetwork, from the command line and the configuration; override it for others."""
    topology = pytestconfig.getoption("--qkd-topology") or pytestconfig.getini("qkd_topology")
    embedded = pytestconfig.getoption("--qkd-embedded") or pytestconfig.getini("qkd_embedded")
    return {"embedded": embedded, **({"topology": topology} if topology else {})}


@pytest.fixture(scope="session")
def _shared_qkd_network(pytestconfig: pytest.Config, qkd_network_options: dict[str, Any]) -> Iterator[QKDNetwork]:
    yield from _running(pytestconfig, qkd_network_options)


@pytest.fixture
def qkd_network(_shared_qkd_network: QKDNetwork, request: pytest.FixtureRequest) -> Iterator[QKDNetwork]:
    """One network for the whole run. After each test its faults are off and its links as they were at the start."""
    with ExitStack() as after:
        _make_faults(_shared_qkd_network, request, after)
        yield _shared_qkd_network
        for site in _shared_qkd_network.topology.sites:
            _shared_qkd_network.fault(site.name).clear()
        for link in _shared_qkd_network.topology.quantum_links:
            _shared_qkd_network.link(link.name).reset()


@pytest.fixture
def fresh_qkd_network(
    pytestconfig: pytest.Config, qkd_network_options: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[QKDNetwork]:
    """A network for this test alone."""
    for network in _running(pytestconfig, qkd_network_options):
        with ExitStack() as after:
            _make_faults(network, request, after)
            yield network


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        for network in item.config.stash[RUNNING]:
            report.sections.append(("logs of the QKD network", network.logs()[-SHOWN_CHARACTERS:]))
    return report


def _running(config: pytest.Config, options: dict[str, Any]) -> Iterator[QKDNetwork]:
    from qkd_lab.testing import QKDNetwork

    with QKDNetwork(**options) as network:
        config.stash[RUNNING].append(network)
        try:
            yield network
        finally:
            config.stash[RUNNING].remove(network)


def _make_faults(network: QKDNetwork, request: pytest.FixtureRequest, after: ExitStack) -> None:
    for marker in request.node.iter_markers("qkd_fault"):
        after.enter_context(network.fault(*marker.args, **marker.kwargs))
