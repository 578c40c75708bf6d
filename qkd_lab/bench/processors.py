"""For how long processors were at work for the processes of a lab, where these are on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import psutil

from qkd_lab import configuration
from qkd_lab.lab_folder import LabFolder

# A process id is given out again: with the time of its beginning (in s, as the system says it) it is one process.
Busy = dict[tuple[int, float], float]  # how long each was at work since it began; the first is the one above the others


class Processors:
    """By the process ids that the supervisor of an embedded lab writes; a lab in containers has none."""

    def __init__(self, lab: LabFolder) -> None:
        self._lab = lab
        self._is_here = not lab.in_containers

    @property
    def names(self) -> list[str]:
        return list(self._pids())

    def busy(self, names: Iterable[str]) -> dict[str, Busy | None]:
        """Of each of these processes and all below it; None where that is not known here."""
        pids = self._pids()
        return {name: _busy(pids[name]) if name in pids else None for name in names}

    def spent_s(self, before: dict[str, Busy | None]) -> dict[str, float | None]:
        """Since `before`, what began meanwhile included. None where that is not known: not here, or the process or
        one below it has gone, and its time with it, whether another is in its place or not."""
        return {name: _between(before[name], now) for name, now in self.busy(before).items()}

    def worker_count(self, name: str) -> int:
        """Workers of a server; where it is not here, as many as the settings have that compose is given, too."""
        with contextlib.suppress(psutil.Error, KeyError):
            return max(1, len(psutil.Process(self._pids()[name]).children()))
        return configuration.read("QKD_WORKERS", os.environ)

    def _pids(self) -> dict[str, int]:
        """Read each time: the supervisor starts again what has died."""
        if not self._is_here:
            return {}
        return {name: one["pid"] for name, one in self._lab.read_state().get("processes", {}).items() if one["pid"]}


def _busy(pid: int) -> Busy | None:
    found: Busy = {}
    try:
        top = psutil.Process(pid)
        _add(found, top)
        for one in top.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has gone since they were listed
                _add(found, one)
    except psutil.Error:
        return None
    return found


def _add(found: Busy, process: psutil.Process) -> None:
    times = process.cpu_times()
    found[process.pid, process.create_time()] = times.user + times.system


def _between(before: Busy | None, now: Busy | None) -> float | None:
    # Whoever is above the others is the first: where it is another one, none of those below are its.
    if not before or not now or next(iter(before)) != next(iter(now)) or not before.keys() <= now.keys():
        return None
    return sum(busy_s - before.get(process, 0.0) for process, busy_s in now.items())
