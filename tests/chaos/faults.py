"""The faults a lab has to survive, as data: each begins, and ends by itself or is ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from running_lab import QKD_LAB

SEED = 20_261_122
POOL_KEYS = 200
PROCESSES = (
    "kme-a", "kme-b", "kme-a-scheduler", "kme-b-scheduler", "qkde-a", "qkde-b", "qlink-a-b", "redis-a", "redis-b",
    "postgres-a", "postgres-b",
)  # fmt: skip
# What a partition cuts: the listeners on its way.
PARTITIONS = {
    "between the KMEs": ["kme-a.peer", "kme-b.peer"],
    "between the QKDEs": ["qkde-a.classical", "qkde-b.classical"],
    "to the quantum link": ["qlink-a-b.qkd"],
    "between KME and QKDE of site a": ["kme-a.qkde", "qkde-a.kme"],
    "to Redis of site a": ["redis-a.redis"],
    "to Redis of site b": ["redis-b.redis"],
    "to Postgres of site a": ["postgres-a.sql"],
    "to Postgres of site b": ["postgres-b.sql"],
}
DETOURED = [tuple(one.split(".")) for listeners in PARTITIONS.values() for one in listeners]


@dataclass(frozen=True)
class Fault:
    """`begin(lab)` brings the fault about and `end(lab)` takes it away; one that the lab mends itself has no end."""

    name: str
    begin: Callable[..., None]
    end: Callable[..., None] = lambda lab: None


def kill(process: str) -> Fault:
    return Fault(f"kill -9 of {process}", lambda lab: _signal_group(lab, process, signal.SIGKILL))


def kill_worker(process: str) -> Fault:
    return Fault(f"kill -9 of a worker of {process}", lambda lab: os.kill(_children(_pid(lab, process))[0], 9))


def pause(process: str) -> Fault:
    return Fault(
        f"stop and continue of {process}",
        lambda lab: _signal_group(lab, process, signal.SIGSTOP),
        lambda lab: _signal_group(lab, process, signal.SIGCONT),
    )


def kill_supervisor() -> Fault:
    def begin(lab) -> None:
        os.kill(json.loads((lab.folder / ".lab" / "state.json").read_text())["pid"], signal.SIGKILL)

    return Fault("kill -9 of the supervisor", begin, lambda lab: up_again(lab))


def disturb(where: str, mode: str) -> Fault:
    listeners = PARTITIONS[where]
    return Fault(
        f"{mode} {where}", lambda lab: lab.detours.set(listeners, mode), lambda lab: lab.detours.set(listeners, "pass")
    )


def together(*faults: Fault) -> Fault:
    def begin(lab) -> None:
        for fault in faults:
            fault.begin(lab)

    def end(lab) -> None:
        for fault in faults:
            fault.end(lab)

    return Fault(" + ".join(fault.name for fault in faults), begin, end)


def every() -> list[Fault]:
    """Each fault once."""
    return [
        *(kill(one) for one in PROCESSES),
        kill_worker("kme-a"),
        *(pause(one) for one in ("kme-a", "kme-b-scheduler", "qkde-b", "qlink-a-b", "redis-b", "postgres-a")),
        *(disturb(where, "refuse") for where in PARTITIONS),
        *(disturb(where, "stall") for where in ("between the KMEs", "to Redis of site a", "to Postgres of site b")),
        *(disturb(where, "slow") for where in ("between the KMEs", "between the QKDEs")),
        *(disturb(where, "truncate") for where in ("between the KMEs", "to Redis of site b")),
        # Not to a database: TCP delivers octets once, and only TLS notices where something in between does not.
        disturb("between the KMEs", "duplicate"),
        kill_supervisor(),
    ]  # fmt: skip


def some_together(seed: int, count: int) -> list[Fault]:
    """`count` pairs of different faults, as the seed has them."""
    chance = random.Random(seed)
    return [together(*chance.sample(every()[:-1], 2)) for _ in range(count)]


def up_again(lab) -> None:
    # What runs under a supervisor that was killed dies with it; the lab in the folder is resumed as it was.
    up = [*QKD_LAB, "up", "--topology", str(lab.folder / "small.toml")]
    subprocess.run(up, cwd=lab.folder, check=True, capture_output=True, env=lab.environment)


def _pid(lab, process: str) -> int:
    return json.loads((lab.folder / ".lab" / "state.json").read_text())["processes"][process]["pid"]


def _signal_group(lab, process: str, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(_pid(lab, process), number)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
