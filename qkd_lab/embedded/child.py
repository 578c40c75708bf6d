"""One process under the supervisor: started, watched, started again with a growing pause, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qkd_lab.embedded.launch import Launcher
from qkd_lab.embedded.unprivileged import User

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
# Having run that long, a process that dies is new trouble, not the old one.
SETTLED_S = 60.0


@dataclass(frozen=True)
class Program:
    """What to run, as `Launcher.start` has it. `check` raises NotReady until it answers; `after` names those that must
    be ready before."""

    name: str
    kind: str
    command: Callable[[], list[str]]
    check: Callable[[], None]
    log: Path
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    user: User = User("the user")
    after: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    # Sent by the kernel when the supervisor dies, however it dies.
    death_signal: signal.Signals = signal.SIGKILL


class Child:
    """`state` is waiting, starting, ready or dead. Times are seconds of a monotonic clock, given by the caller."""

    def __init__(self, program: Program, launcher: Launcher) -> None:
        self.program = program
        self._launcher = launcher
        self.state = "waiting"
        self.restart_count = 0
        self.start_at = 0.0
        self._started_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self.pid: int | None = None

    def start(self, now: float) -> None:
        """Raises OSError."""
        program = self.program
        self.pid = self._launcher.start(
            program.command(),
            environment=program.environment,
            folder=program.folder,
            log=program.log,
            death_signal=program.death_signal,
            uid=program.user.uid,
            gid=program.user.gid,
        )
        self.state = "starting"
        self._started_at = now

    def died(self, now: float) -> str | None:
        """How the process ended, if it has; when to start it again is then in `start_at`."""
        if self.pid is None:
            return None
        # Its own workers go with it. While it is not reaped, its number can't be another group's.
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self._kill_group()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = None
        self.state = "dead"
        self.restart_count += 1
        if now - self._started_at >= SETTLED_S:
            self._pause_s = FIRST_PAUSE_S
        self.start_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def ask_to_stop(self, at_once: bool = False) -> None:
        """`at_once`: as if the supervisor had died."""
        if self.pid is not None:
            os.kill(self.pid, self.program.death_signal if at_once else self.program.stop_signal)

    def kill(self) -> None:
        if self.pid is not None:
            self._kill_group()

    def log_tail(self) -> str:
        """The last line of its log, for a message."""
        try:
            lines = self.program.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:300] if lines else "its log is empty"

    def _kill_group(self) -> None:
        assert self.pid is not None
        for kill in (os.killpg, os.kill):  # it leads a group only from its `setsid` on
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
