"""Figures that tests measure are printed at the end of a run; none of them is asserted, machines differ. Examples that
Hypothesis draws are the same in every run, but for a `--long` one, and may take what time they need.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from report import Report

FIGURES = pytest.StashKey[list[str]]()
REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="searches for faults go on for about an hour")
    parser.addoption("--figures", type=Path, metavar="FOLDER", help="what tests draw of their figures is written there")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.stash[REPORT] = Report()
    repeats, slow = not config.getoption("--long"), [HealthCheck.too_slow]
    settings.register_profile("repeatable", derandomize=repeats, deadline=None, suppress_health_check=slow)
    settings.load_profile("repeatable")
    # In the background of a shell Ctrl-C is ignored, and so it would be by programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """`figure("embedded: 4.1 s to the first key")` adds a line to what is printed at the end."""
    return pytestconfig.stash[FIGURES].append


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """What all tests together say of failures."""
    return pytestconfig.stash[REPORT]


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.write_line(line)
    if lines := config.stash[REPORT].lines():
        terminalreporter.section("faults and bad input")
        for line in lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"also in {config.stash[REPORT].write()}")
