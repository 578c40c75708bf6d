"""Counts what the tests of this folder try, for the figure at the end of a run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for malformed.py, whatever import mode pytest runs in

from malformed import Tried  # noqa: E402


@pytest.fixture(scope="session")
def tried(figure: Callable[[str], None]) -> Iterator[Tried]:
    counts = Tried()
    yield counts
    figure(f"malformed inputs tried: {counts.malformed:,}, server errors: {counts.server_errors}")
