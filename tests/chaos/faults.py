"""The faults a lab has to survive, as data: each begins, and ends by itself or is ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from running_lab import QKD_LAB, eventually

SEED = 20_261_122
PROCESSES = (
    "kme-a", "kme-b", "kme-a-scheduler", "kme-b-scheduler", "qkde-a", "qkde-b", "qlink-a-b", "redis-a", "redis-b",
    "postgres-a", "postgres-b",
)  # fmt: skip
# The listeners on each way between processes.
WAYS = {
    "between the KMEs": ["kme-a.peer", "kme-b.peer"],
    "between the QKDEs": ["qkde-a.classical", "qkde-b.classical"],
    "to the quantum link": ["qlink-a-b.qkd"],
    "between KME and QKDE of site a": ["kme-a.qkde", "qkde-a.kme"],
    "to Redis of site a": ["redis-a.redis"],
    "to Redis of site b": ["redis-b.redis"],
    "to Postgres of site a": ["postgres-a.sql"],
    "to Postgres of site b": ["postgres-b.sql"],
}
DETOURED = [tuple(one.split(".")) for listeners in WAYS.values() for one in listeners]
ROOM_BYTES = 1_000
# How each program is asked to end.
STOP_SIGNALS = {"postgres": signal.SIGINT}


@dataclass(frozen=True)
class Fault:
    """`begin(lab)` brings the fault about and `end(lab)` takes it away; one of a moment has no end."""

    name: str
    begin: Callable[..., None]
    end: Callable[..., None] | None = None


def kill(process: str) -> Fault:
    """With all its workers."""
    return Fault(f"kill -9 of {process}", lambda lab: _signal_all(lab, process, signal.SIGKILL))


def kill_master(process: str) -> Fault:
    """Its workers live on and find out by themselves."""
    return Fault(f"kill -9 of the master of {process}", lambda lab: os.kill(_pid(lab, process), signal.SIGKILL))


def kill_worker(process: str) -> Fault:
    def begin(lab) -> None:
        for worker in _workers(_pid(lab, process)):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    return Fault(f"kill -9 of a worker of {process}", begin)


def restart(process: str) -> Fault:
    number = STOP_SIGNALS.get(process.partition("-")[0], signal.SIGTERM)
    return Fault(f"restart of {process}", lambda lab: os.kill(_pid(lab, process), number))


def pause(process: str) -> Fault:
    return Fault(
        f"stop and continue of {process}",
        lambda lab: _signal_all(lab, process, signal.SIGSTOP),
        lambda lab: _signal_all(lab, process, signal.SIGCONT),
    )


def fill_disk_of_redis(process: str) -> Fault:
    """Its append-only file gets `ROOM_BYTES` more, and then writing fails in the middle, as it does on a full disk.
    Redis stops there, since it promised that what it answers is stored; the next one has the room again."""

    def begin(lab) -> None:
        files = Path(lab.state()["data"], process, "appendonlydir").iterdir()
        limit = max(file.stat().st_size for file in files) + ROOM_BYTES
        pid = _pid(lab, process)
        server = psutil.Process(pid)
        # As its own user, who may do this without special rights; root is another one.
        its = {"user": server.uids().real, "group": server.gids().real, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={limit}"], check=True, capture_output=True, **its)

    return Fault(f"full disk of {process}", begin)


def kill_supervisor() -> Fault:
    def begin(lab) -> None:
        os.kill(lab.state()["pid"], signal.SIGKILL)

    return Fault("kill -9 of the supervisor, and up", begin, lambda lab: up_again(lab))


def disturb(where: str, mode: str) -> Fault:
    return Fault(
        f"{mode} {where}",
        lambda lab: lab.detours.set(WAYS[where], mode),
        lambda lab: lab.detours.set(WAYS[where], "pass"),
    )


def together(*faults: Fault) -> Fault:
    def begin(lab) -> None:
        for fault in faults:
            fault.begin(lab)

    def end(lab) -> None:
        for fault in faults:
            if fault.end:
                fault.end(lab)

    return Fault(" + ".join(fault.name for fault in faults), begin, end)


def every() -> list[Fault]:
    """Each fault once."""
    return [
        *(kill(one) for one in PROCESSES),
        kill_master("kme-a"),
        *(kill_worker(one) for one in ("kme-b", "kme-a-scheduler", "qkde-b", "qlink-a-b")),
        *(restart(one) for one in ("kme-b", "kme-b-scheduler", "qkde-a", "redis-a", "postgres-b")),
        *(pause(one) for one in ("kme-a", "kme-b-scheduler", "qkde-b", "qlink-a-b", "redis-b", "postgres-a")),
        fill_disk_of_redis("redis-a"),
        *(disturb(where, "refuse") for where in WAYS),
        *(disturb(where, "stall") for where in ("between the KMEs", "to Redis of site a", "to Postgres of site b")),
        *(
            disturb(where, "half-open")
            for where in (
                "between the KMEs", "between the QKDEs", "to the quantum link", "between KME and QKDE of site a",
                "to Redis of site b", "to Postgres of site a",
            )
        ),
        *(disturb(where, "slow") for where in ("between the KMEs", "between the QKDEs", "to Redis of site a")),
        *(
            disturb(where, "truncate")
            for where in ("between the KMEs", "between the QKDEs", "to Redis of site b", "to Postgres of site a")
        ),
        # Not to a database: TCP delivers octets once and as they are, and only TLS notices where something in between
        # does not.
        *(disturb(where, "duplicate") for where in ("between the KMEs", "to the quantum link")),
        disturb("between the QKDEs", "garble"),
        kill_supervisor(),
    ]  # fmt: skip


def some_together(chance: random.Random, count: int, sizes: Sequence[int] = (2, 2, 3)) -> list[Fault]:
    """`count` times some different faults at once, as the seed has them. With the supervisor everything else dies."""
    return [together(*chance.sample(every()[:-1], chance.choice(sizes))) for _ in range(count)]


def up_again(lab) -> None:
    # What runs under a supervisor that was killed dies with it; the lab in the folder is resumed as it was.
    up = [*QKD_LAB, "up", "--topology", str(lab.folder / "small.toml")]
    subprocess.run(up, cwd=lab.folder, check=True, capture_output=True, env=lab.environment)


def _pid(lab, process: str) -> int:
    """Waits for it where it has just died of another fault."""
    return eventually(lambda: lab.state()["processes"][process]["pid"], f"{process} runs")


def _workers(pid: int) -> list[int]:
    """Postgres' are no group of its."""
    try:
        return [one.pid for one in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal_all(lab, process: str, number: int) -> None:
    pid = _pid(lab, process)
    for one in (pid, *_workers(pid)):
        with suppress(ProcessLookupError):
            os.kill(one, number)
