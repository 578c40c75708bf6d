"""A network of its own for the faults, with proxies on its inner ways, and clients that use it all the time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from qkd_lab.topology import SHIPPED

from clients import Direction
from detours import Detours
from faults import DETOURED, POOL_KEYS, SEED
from history import History
from running_lab import QKD_LAB, Lab


@dataclass(frozen=True)
class FaultyLab(Lab):
    detours: Any = None
    environment: dict[str, str] = field(default_factory=dict)
    history: History = field(default_factory=History)
    directions: tuple[Direction, ...] = ()


def small_topology() -> str:
    """The shipped lab with shorter rounds and smaller pools, so that a fault meets each step of a key's way soon."""
    text = (SHIPPED / "two-sites.toml").read_text()
    for before, after in (("pulses_per_frame = 1048576", "pulses_per_frame = 524288"),
                          ("max_keys = 1000", f"max_keys = {POOL_KEYS}")):  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[FaultyLab]:
    folder = tmp_path_factory.mktemp("chaos")
    logs = folder / ".lab" / "log"
    history = History()
    detours = Detours(folder, DETOURED, SEED)
    environment = {**os.environ, "QKD_DETOURS": str(detours.file)}

    def all_logs() -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(logs.glob("*.log")))

    plain = Lab(folder, all_logs)
    directions = (
        Direction(plain, "sae-a", "sae-b", ("kme-a", "kme-b"), history, SEED),
        Direction(plain, "sae-b", "sae-a", ("kme-b", "kme-a"), history, SEED + 1),
    )
    topology = folder / "small.toml"
    topology.write_text(small_topology())
    subprocess.run([*QKD_LAB, "up", "--topology", str(topology)], cwd=folder, check=True, env=environment)
    try:
        faulty = FaultyLab(folder, all_logs, None, {}, detours, environment, history, directions)
        faulty.wait_for_keys()
        faulty.wait_for_keys(1, "sae-b", "sae-a", "kme-b")
        for direction in directions:
            direction.start()
        yield faulty
    finally:
        for direction in directions:
            direction.stop()
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=folder, check=True)
        detours.close()
