"""Processor time of processes with others below them: of what was replaced it is not known, and never negative."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from qkd_lab.bench.processors import Processors

# Each line that it is sent starts one more below it, which works until it is killed. Nobody waits for those.
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while sys.stdin.readline():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    print(child.pid, flush=True)
"""


class Lab:
    in_containers = False

    def __init__(self, pid):
        self.pid = pid

    def read_state(self):
        return {"processes": {"kme-a": {"pid": self.pid}, "sae-a": {"pid": None}}}


def begun():
    return subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def parent():
    started, below = begun(), []

    def one_more():
        started.stdin.write("\n")
        started.stdin.flush()
        below.append(int(started.stdout.readline()))
        return below[-1]

    yield SimpleNamespace(pid=started.pid, one_more=one_more)
    started.kill()
    for pid in below:
        subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL)
    started.communicate()


@pytest.fixture
def lab(parent):
    return Lab(parent.pid)


def spent(processors, before, until=lambda found: True):
    """When it is as it is to be, after a while at the latest."""
    until_s = time.monotonic() + 10
    while True:
        found = processors.spent_s(before)["kme-a"]
        if until(found) or time.monotonic() > until_s:
            return found
        time.sleep(0.02)


def test_who_is_below_counts_and_who_comes_meanwhile(parent, lab):
    processors = Processors(lab)
    assert processors.names == ["kme-a"]
    before = processors.busy(["kme-a", "redis-a"])
    assert processors.spent_s(before)["redis-a"] is None  # there is none
    parent.one_more()
    assert spent(processors, before, lambda found: found > 0.2) > 0.2


def test_where_one_below_was_replaced_it_is_not_known(parent, lab):
    processors, gone = Processors(lab), parent.one_more()
    before = processors.busy(["kme-a"])
    assert spent(processors, before, lambda found: found > 0.1) > 0.1
    subprocess.run(["kill", "-9", str(gone)], check=True)
    parent.one_more()
    assert spent(processors, before, lambda found: found is None) is None


def test_where_the_process_was_replaced_it_is_not_known_and_the_new_one_is_measured(lab):
    processors = Processors(lab)
    before = processors.busy(["kme-a"])
    other = begun()
    try:
        lab.pid = other.pid
        assert spent(processors, before) is None
        assert spent(processors, processors.busy(["kme-a"])) >= 0
    finally:
        other.communicate()
    assert processors.busy(["kme-a"]) == {"kme-a": None}  # it has gone


def test_a_process_with_the_number_of_one_that_has_gone_is_another(parent, lab):
    processors = Processors(lab)
    ((_, began_at),) = processors.busy(["kme-a"])["kme-a"]
    assert processors.spent_s({"kme-a": {(parent.pid, began_at): 0.0}})["kme-a"] >= 0
    assert processors.spent_s({"kme-a": {(parent.pid, began_at - 1): 0.0}})["kme-a"] is None


def test_of_containers_nothing_is_known_but_the_number_of_workers_that_they_are_given(lab, monkeypatch):
    lab.in_containers = True
    monkeypatch.delenv("QKD_WORKERS", raising=False)
    assert Processors(lab).names == [] and Processors(lab).worker_count("kme-a") == 2
    monkeypatch.setenv("QKD_WORKERS", "3")
    assert Processors(lab).worker_count("kme-a") == 3
