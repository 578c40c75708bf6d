"""What an image's stage copies is all that its process imports: tried with just these files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


def copied(stage):
    """(sources, destination) of each COPY of the stage and of those it is built on; not from other stages."""
    base_of, copies, current = {}, {}, ""
    for line in (CHECKOUT / "services" / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            current = words[-1]
            base_of[current], copies[current] = words[1], []
        elif words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copies[current].append((words[1:-1], words[-1]))
    while stage in copies:
        yield from copies[stage]
        stage = base_of[stage]


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        ("kme", "services.kme_api, services.kme_scheduler"),
        ("qkde", "services.qkde_node"),
        ("qlink", "services.qlink_node"),
        ("sae", "services.sae_node"),
        ("tool", "qkd_lab.cli, qkd_lab.link_rounds, qkde.rates.predicted, services.dashboard_node"),
    ],
)
def test_an_image_has_all_the_code_its_process_imports(tmp_path, stage, modules):
    for sources, destination in copied(stage):
        for source in sources:
            found = CHECKOUT / source
            target = tmp_path / destination
            if found.is_dir():
                shutil.copytree(found, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"import {modules}"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
