"""What dies is started again with a pause that grows, and shrinks again when it has run for long."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from qkd_lab.embedded.child import FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S, Child, Program
from qkd_lab.embedded.launch import Launcher


@pytest.fixture(scope="module")
def launcher():
    with contextlib.closing(Launcher()) as one:
        yield one


def child_of(command: list[str], folder: Path, launcher: Launcher) -> Child:
    return Child(
        Program("one", "sae", lambda: command, lambda: None, folder / "log", folder, dict(os.environ)), launcher
    )


def pause_after(child: Child, ran_s: float) -> float:
    """Until it would be started again, having run for that long by the clock it was given."""
    child.start(now=0.0)
    deadline = time.monotonic() + 30
    while not child.died(now=ran_s):
        assert time.monotonic() < deadline
    return child.start_at - ran_s


def test_the_pause_before_another_start_doubles_up_to_a_limit(tmp_path, launcher):
    child = child_of(["false"], tmp_path, launcher)
    pauses = [pause_after(child, 1.0) for _ in range(8)]
    assert pauses == [min(FIRST_PAUSE_S * 2**number, LONGEST_PAUSE_S) for number in range(8)]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert child.restart_count == 8


def test_what_has_run_for_long_is_started_again_at_once(tmp_path, launcher):
    child = child_of(["false"], tmp_path, launcher)
    for _ in range(4):
        pause_after(child, 1.0)
    assert pause_after(child, SETTLED_S) == FIRST_PAUSE_S
