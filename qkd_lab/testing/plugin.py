"""A pytest plug-in: the fixtures `qkd_network` and `fresh_qkd_network`, the marker `qkd_fault`, logs of failed tests.

It is installed with the package; docs/testing.md shows its use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qkd_lab.testing import QKDNetwork

RUNNING = pytest.StashKey[list["QKDNetwork"]]()
FIXTURES = ("qkd_network", "fresh_qkd_network")
SHOWN_FIRST = ("kme-", "qkde-", "qlink-")
SHOWN_CHARACTERS = 5_000  # of each process
FAULT_FORM = 'expected the site, then knobs, as @pytest.mark.qkd_fault("a", refuse_percentage=50)'


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
    """One network for the whole run. After each test its faults are off and its links as they were at the start. Where
    a test has stopped it, or it has died, the next one gets a new one."""
    network = _shared_qkd_network
    if not network.is_running():
        network.stop()
        network.start()
    with ExitStack() as after:
        after.callback(_as_at_the_start, network)
        _make_faults(network, request)
        yield network


@pytest.fixture
def fresh_qkd_network(
    pytestconfig: pytest.Config, qkd_network_options: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[QKDNetwork]:
    """A network for this test alone."""
    for network in _running(pytestconfig, qkd_network_options):
        _make_faults(network, request)
        yield network


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("qkd_fault") and not set(FIXTURES) & set(getattr(item, "fixturenames", ())):
        pytest.fail(f"qkd_fault: the test uses neither {' nor '.join(FIXTURES)}, so nothing makes it", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for network in item.config.stash[RUNNING]:
            report.sections.append(("logs of the QKD network", _logs(network)))
    return report


def _running(config: pytest.Config, options: dict[str, Any]) -> Iterator[QKDNetwork]:
    from qkd_lab.testing import QKDNetwork

    with QKDNetwork(**options) as network:
        config.stash[RUNNING].append(network)
        try:
            yield network
        finally:
            config.stash[RUNNING].remove(network)


def _as_at_the_start(network: QKDNetwork) -> None:
    if not network.is_running():
        return
    for site in network.topology.sites:
        network.fault(site.name)
    for link in network.topology.quantum_links:
        network.link(link.name).reset()


def _make_faults(network: QKDNetwork, request: pytest.FixtureRequest) -> None:
    for marker in reversed(list(request.node.iter_markers("qkd_fault"))):  # the nearest one last: it goes before
        if len(marker.args) != 1 or not isinstance(marker.args[0], str) or not marker.kwargs:
            pytest.fail(f"qkd_fault: {FAULT_FORM}", pytrace=False)
        from qkd_lab.testing import LabError

        try:
            network.fault(*marker.args, **marker.kwargs)
        except LabError as error:
            pytest.fail(f"qkd_fault: {error}", pytrace=False)


def _logs(network: QKDNetwork) -> str:
    """The end of each process's, KMEs first. Whatever is wrong with the network, the test's own report is shown."""
    try:
        return _shown(network.log_texts())
    except Exception as error:
        return f"the logs are not available: {error}"


def _shown(texts: Mapping[str, str]) -> str:
    shown = ""
    for name in sorted(texts, key=lambda name: (not name.startswith(SHOWN_FIRST), name)):
        text = texts[name]
        left_out = len(text) - SHOWN_CHARACTERS
        if left_out > 0:
            text = f"... {left_out:,} characters before these are left out\n{text[-SHOWN_CHARACTERS:]}"
        shown += f"==> {name} <==\n{text.rstrip()}\n"
    return shown
