"""Counts what the tests of this folder try, for the report at the end of a run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for malformed.py, whatever import mode pytest runs in

from malformed import Tried  # noqa: E402
from report import Report  # noqa: E402


@pytest.fixture(scope="session")
def tried(report: Report) -> Tried:
    return Tried(report)
