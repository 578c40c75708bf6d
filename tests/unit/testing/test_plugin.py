"""The pytest plug-in, in a pytest of its own. Its network is made up: what a real one does is in tests/lab."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

import qkd_lab
from qkd_lab.testing.plugin import SHOWN_CHARACTERS, _shown

pytest_plugins = ["pytester"]

MADE_UP = """
import pytest
from types import SimpleNamespace
import qkd_lab.testing
from qkd_lab.testing import LabError

class Network:
    made = []
    def __init__(self, **options):
        self.runs, self.faults = False, []
        self.topology = SimpleNamespace(sites=[SimpleNamespace(name="a")], quantum_links=[])
        self.made.append(self)
    def __enter__(self):
        return self.start()
    def __exit__(self, *_):
        self.stop()
    def start(self):
        self.runs = True
        return self
    def stop(self):
        self.runs = False
    def is_running(self):
        return self.runs
    def fault(self, site, **knobs):
        if not self.runs or site != "a":
            raise LabError(f"no site {site}")
        self.faults.append(knobs)
    def log_texts(self):
        if not self.runs:
            raise LabError("the network does not run")
        return {"kme-a": "said by kme-a"}

qkd_lab.testing.QKDNetwork = Network
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(qkd_lab.__file__).parents[1]))
    pytester.makeconftest(MADE_UP)
    # A checkout that was never installed has to be told.
    plugin = () if entry_points(group="pytest11", name="qkd-lab") else ("-p", "qkd_lab.testing.plugin")

    def run(tests):
        pytester.makepyfile("import pytest\nfrom conftest import Network\n" + tests)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugin)

    return run


def test_a_network_that_a_test_has_stopped_is_started_anew_for_the_next(run):
    done = run(
        """
def test_stops_it(qkd_network):
    qkd_network.stop()
    assert False, "own failure"
def test_next(qkd_network):
    assert qkd_network.is_running() and len(Network.made) == 1
"""
    )
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines(["*own failure*", "*the logs are not available: the network does not run*"])


def test_logs_are_shown_also_where_a_fixture_fails(run):
    done = run(
        """
@pytest.fixture
def connected(qkd_network):
    raise ConnectionError("own failure")
def test_it(connected):
    pass
"""
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*logs of the QKD network*", "==> kme-a <==", "said by kme-a"])


def test_faults_are_made_from_the_outermost_to_the_nearest_and_end_with_the_test(run):
    done = run(
        """
@pytest.mark.qkd_fault("a", delay_s=0.2)
@pytest.mark.qkd_fault("a", refuse_percentage=100)
def test_it(qkd_network):
    assert qkd_network.faults == [{"delay_s": 0.2}, {"refuse_percentage": 100}]
def test_next(qkd_network):
    assert qkd_network.faults[2:] == [{}], "all off"
"""
    )
    done.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "fixture", "told"),
    [
        ('"a", delay_s=1', "tmp_path", "uses neither qkd_network nor fresh_qkd_network"),
        ("", "qkd_network", "expected the site, then knobs"),
        ('"a"', "qkd_network", "expected the site, then knobs"),
        ('"zz", delay_s=1', "fresh_qkd_network", "qkd_fault: no site zz"),
    ],
)
def test_a_marker_that_would_make_no_fault_fails_the_test_in_a_line(run, marker, fixture, told):
    done = run(f"@pytest.mark.qkd_fault({marker})\ndef test_it({fixture}):\n    pass\n")
    done.assert_outcomes(errors=1)
    assert told in str(done.stdout) and "plugin.py" not in str(done.stdout)


def test_of_each_process_the_end_is_shown_kmes_first():
    shown = _shown({"dashboard": "d", "kme-b": "x" * SHOWN_CHARACTERS + "the end", "redis-a": "r"})
    assert shown.startswith("==> kme-b <==\n... 7 characters before these are left out\nxxx")
    assert shown.index("the end") < shown.index("==> dashboard <==") < shown.index("==> redis-a <==")
