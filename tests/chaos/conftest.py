"""A network of its own for the faults, with proxies on its inner ways, and clients that use it all the time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from clients import Direction
from detours import Detours
from faults import DETOURED, SEED
from history import History
from running_lab import QKD_LAB, Lab
from used_lab import UsedLab, small_topology


@dataclass(frozen=True)
class FaultyLab(UsedLab):
    detours: Any = None
    environment: dict[str, str] = field(default_factory=dict)
    history: History = field(default_factory=History)
    directions: tuple[Direction, ...] = ()


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
        Direction(plain, "sae-a", "sae-b", ("kme-a", "kme-b"), history, SEED, "intruder-b"),
        Direction(plain, "sae-b", "sae-a", ("kme-b", "kme-a"), history, SEED + 1, "intruder-a"),
    )
    topology = folder / "small.toml"
    topology.write_text(small_topology())
    subprocess.run([*QKD_LAB, "up", "--topology", str(topology)], cwd=folder, check=True, env=environment)
    try:
        faulty = FaultyLab(folder, all_logs, None, {}, detours, environment, history, directions)
        faulty.wait_for_keys()
        faulty.wait_for_keys(1, "sae-b", "sae-a", "kme-b")
        for site in "ab":
            faulty.command("register", "sae", f"intruder-{site}", "--site", site)
        for direction in directions:
            direction.start()
        yield faulty
    finally:
        for direction in directions:
            direction.stop()
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=folder, check=True)
        detours.close()
