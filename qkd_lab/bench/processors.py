"""For how long processors were at work for the processes of a lab, where these are on this machine."""

from __future__ import annotations

import contextlib

import psutil

from qkd_lab.lab_folder import LabFolder


class Processors:
    """By the process ids that the supervisor of an embedded lab wrote; a lab in containers has none."""

    def __init__(self, lab: LabFolder) -> None:
        self._pids = {name: one["pid"] for name, one in lab.read_state().get("processes", {}).items() if one["pid"]}
        if lab.in_containers:
            self._pids = {}

    @property
    def names(self) -> list[str]:
        return list(self._pids)

    def busy_s(self, name: str) -> float | None:
        """Of a process and all below it, since they began; None where that is not known here."""
        if name not in self._pids:
            return None
        total = 0.0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pids[name])
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    total += times.user + times.system
        return total

    def worker_count(self, name: str) -> int:
        """Workers of a server; 1 where that is not known here."""
        with contextlib.suppress(psutil.Error, KeyError):
            return max(1, len(psutil.Process(self._pids[name]).children()))
        return 1
