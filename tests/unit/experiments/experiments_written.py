"""Small experiments as files, and `qkd-lab` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore"}

SMALL = """
title = "small"
seed = 7
[fixed]
source = "single-photon"
pulses = 2e4
qber_tolerance = 0.1
epsilon_secrecy = 1e-4
[sweep]
depolarizing = [0.02, 0.1]
[[series]]
name = "simulated"
kind = "simulation"
repetitions = 2
[[series]]
name = "theory"
kind = "theory"
fixed = { model = "link" }
[[panels]]
x = "depolarizing"
y = "qber_test"
[[panels]]
x = "depolarizing"
y = "secret_bits_per_pulse"
y_scale = "log"
"""

# Formulas alone: no process needs Qiskit for it, so that a test of the file or the figure is quick.
FORMULAS = """
title = "formulas"
seed = 0
[fixed]
set = "gys"
[sweep]
distance_km = { from = 0, to = 140, step = 20 }
[[series]]
name = "decoys"
kind = "theory"
fixed = { model = "decoy" }
[[panels]]
x = "distance_km"
y = "secret_bits_per_pulse"
y_scale = "log"
"""


def written(folder: Path, text: str, name: str = "experiment.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def start(*arguments: object, cwd: Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "qkd_lab.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def rows_of(path: Path) -> list[dict]:
    """The rows without the headers; a line that is not whole yet is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [row for row in map(json.loads, lines) if "format" not in row]


def identities(rows: list[dict]) -> list[tuple]:
    return sorted((row["series"], row["point"], row["repetition"]) for row in rows)
