"""The benchmark on small inputs: that every figure is there. How large they are is for a quiet machine to say."""

import json
import re

import pytest
from click.testing import CliRunner

from qkd_lab.cli.bb84 import bb84
from qkde import bench

FIGURES = [
    r"Aer path, 2,000 pulses with noise",
    r"Aer path, 2,000 pulses with noise and Eve on all",
    r"peak memory, 2,000 pulses with noise",
    r"peak memory, 2,000 pulses with noise and Eve on all",
    *(rf"Cascade {name}, 3,000 bits at {qber}%" for name in ("original", "efficient") for qber in (1, 2, 3, 5)),
    *(rf"Cascade {name}, 2 frames of 10,000 bits at {qber}%" for name in ("original", "efficient")
      for qber in (1, 2, 5, 10)),
    r"Toeplitz 2,000 → 1,000 bits",
    r"whole block, 400,000 pulses at QBER 3 %",
]  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "CASCADE_BITS", 3_000)
    monkeypatch.setattr(bench, "TOEPLITZ_BITS", (2_000, 1_000))
    monkeypatch.setattr(bench, "BLOCK_PULSES", 400_000)
    monkeypatch.setattr(bench, "BLOCK_KEY_BASIS", 0.5)  # 100,000 test bits: the tolerance of 3.5 % is 9 sigma away


def test_every_figure_is_measured_with_what_it_is_compared_with():
    done = CliRunner().invoke(bb84, ["--bench", "--pulses", "2e3", "--bench-frames", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = {figure["what"]: figure for figure in json.loads(done.stdout)}
    assert list(found) == FIGURES
    for what, figure in found.items():
        if what.startswith("Aer path"):
            assert figure["beside"] > 0 and "of NumPy without circuits" in figure["note"]
        elif "frames" in what:
            assert (figure["value"], figure["unit"]) == (0, "wrong")
        elif what.startswith("Cascade"):
            assert figure["unit"] == "Mbit/s" and re.match(r"f \d\.\d{4} ± \d\.\d{4}, \d+ messages", figure["note"])
        elif what.startswith("peak memory"):
            assert 50 < figure["value"] < 1_000 and figure["unit"] == "MB"
        assert figure["value"] > 0 or "frames" in what


def test_without_a_number_of_pulses_a_million_and_ten_million_are_sent(monkeypatch):
    asked = []
    monkeypatch.setattr(bench, "figures", lambda *arguments: asked.append(arguments) or [])
    for arguments in (["--bench"], ["--bench", "--pulses", "1e6", "--bench-frames", "1000"]):
        assert CliRunner().invoke(bb84, arguments).exit_code == 0
    assert asked == [([10**6, 10**7], 0), ([10**6], 1000)]


def test_a_process_of_its_own_has_the_memory_it_needs_and_no_more():
    """Not that of the process which started it."""
    ballast = bytearray(200_000_000)
    ballast[::4096] = bytes(len(ballast[::4096]))
    assert bench._in_a_process_of_its_own(bench._peak_mb_of_transmission, 1_000, "none") < 200
    del ballast
