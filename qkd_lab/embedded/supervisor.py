"""The supervisor of one lab: a detached process that starts everything, watches it, and ends with all of it.

`python -m qkd_lab.embedded.supervisor FOLDER TOPOLOGY TIMEOUT_S [OWNER]`, its standard output a pipe to whoever waits
for the lab to be ready: a JSON object per line, `{"event": "preparing" | "starting" | "ready" | "running" | "failed"}`.
With OWNER, the process id of its parent, the lab ends and is removed when that parent has gone, and with it the folder
it is in, where that is a temporary one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qkd_lab.addresses import embedded, endpoints
from qkd_lab.embedded.child import Child
from qkd_lab.embedded.control import TEMPORARY, remove
from qkd_lab.embedded.databases import NotReady, Servers
from qkd_lab.embedded.launch import Launcher
from qkd_lab.embedded.ports import Ports
from qkd_lab.embedded.programs import SHARED_MODULES, programs
from qkd_lab.embedded.takeover import known_addresses
from qkd_lab.lab_folder import LabError, LabFolder, write_json
from qkd_lab.pki.authority import PkiError
from qkd_lab.topology import TopologyError

log = logging.getLogger("supervisor")

# A process that ended that often before it was ready will not be ready the next time.
DEATHS_WHILE_STARTING = 3
# Those that take keys stop first, the stores last.
STOP_ORDER = (("dashboard", "sae", "scheduler"), ("kme",), ("qkde",), ("qlink",), ("redis", "postgres"))
STOP_TIMEOUT_S = 10.0
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}

Report = Callable[..., None]


class Supervisor:
    """Runs children until it is told to stop. `record` keeps the state, `report` tells who waits for the start.

    `owner`: a parent whose end means the same, and 0 where there is none.
    """

    def __init__(
        self,
        children: list[Child],
        record: Callable[[str, list[Child]], None],
        report: Report,
        owner: int = 0,
    ) -> None:
        self.children = children
        self._owner = owner
        self._record = record
        self._report = report
        self._reasons: dict[str, str] = {}

    def start(self, timeout_s: float) -> bool:
        """Starts everything. False if it was told to stop meanwhile. Raises LabError if the lab can't become ready."""
        until = time.monotonic() + timeout_s
        while any(child.state != "ready" for child in self.children):
            self._step(time.monotonic())
            for child in self.children:
                if child.state == "dead" and child.restart_count >= DEATHS_WHILE_STARTING:
                    name = child.program.name
                    raise LabError(f"{name} does not start: {child.log_tail()} (all of it: {child.program.log})")
            if time.monotonic() > until:
                late = [f"{c.program.name} ({self._reasons.get(c.program.name, c.state)})" for c in self.children]
                late = [text for text, child in zip(late, self.children, strict=True) if child.state != "ready"]
                raise LabError(f"not ready within {timeout_s:.0f} s: {'; '.join(late)}; see .lab/log")
            if self._told_to_stop(0.05):
                return False
        return True

    def watch(self) -> None:
        """Until told to stop: what dies is started again."""
        while not self._told_to_stop(1.0):
            self._step(time.monotonic())

    def stop(self) -> None:
        """Ends everything in order; what does not end by itself is killed. A lab with an owner leaves nothing behind,
        so its processes need not finish anything."""
        for kinds in STOP_ORDER:
            wave = [child for child in self.children if child.program.kind in kinds]
            for child in wave:
                child.ask_to_stop(at_once=bool(self._owner))
            until = time.monotonic() + STOP_TIMEOUT_S
            while alive := [child for child in wave if child.pid and not child.died(time.monotonic())]:
                if time.monotonic() > until:
                    for child in alive:
                        log.warning("%s did not stop within %.0f s and is killed", child.program.name, STOP_TIMEOUT_S)
                        child.kill()
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)

    def _step(self, now: float) -> None:
        changed = False
        for child in self.children:
            name, before = child.program.name, child.state
            if how := child.died(now):
                log.warning("%s ended (%s); it is started again in %.1f s", name, how, child.start_at - now)
            if child.state in ("waiting", "dead") and now >= child.start_at and self._may_start(child):
                child.start(now)
                log.info("%s started, pid %d", name, child.pid)
            if child.state == "starting":
                self._check(child)
            if child.state != before:
                changed = True
                self._report(child.state, process=name)
        if changed:
            self._record("running" if all(c.state == "ready" for c in self.children) else "starting", self.children)

    def _may_start(self, child: Child) -> bool:
        ready = {other.program.name for other in self.children if other.state == "ready"}
        return child.restart_count > 0 or ready.issuperset(child.program.after)

    def _check(self, child: Child) -> None:
        try:
            child.program.check()
        except NotReady as reason:
            self._reasons[child.program.name] = str(reason)
        else:
            child.state = "ready"
            log.info("%s is ready", child.program.name)

    def _told_to_stop(self, timeout_s: float) -> bool:
        got = signal.sigtimedwait(SIGNALS, timeout_s)
        return is_orphan(self._owner) or (got is not None and got.si_signo != signal.SIGCHLD)


def is_orphan(owner: int) -> bool:
    """Whether the parent `owner` has gone: whoever takes over its children is another one."""
    return bool(owner) and os.getppid() != owner


def supervise(lab: LabFolder, topology_file: Path, timeout_s: float, report: Report, owner: int = 0) -> None:
    """Brings the lab in `lab` up, reports `running`, and returns when it was told to stop and nothing runs any more."""
    started_at = time.time()
    ports = Ports()
    supervisor: Supervisor | None = None
    with lock(lab), contextlib.closing(Launcher(SHARED_MODULES)) as launcher:
        state = lab.read_state()
        try:
            report("preparing")
            topology = lab.keep_topology(topology_file)
            book = embedded(topology, ports.take, known_addresses(lab, topology))
            servers = Servers.choose(lab, state, os.environ)
            more_hosts = os.environ.get("QKD_LAB_HOSTS", "").split()
            lab.prepare(topology, book, endpoints(topology, book), more_hosts)
            kept = {"pid": os.getpid(), "started_at": started_at, **servers.record()}
            log.info("%s, %s, data in %s", kept["postgres"], kept["redis"], kept["data"])

            def record(phase: str, children: list[Child]) -> None:
                shown = {
                    child.program.name: {"state": child.state, "pid": child.pid, "restart_count": child.restart_count}
                    for child in children
                }
                write_json(lab.state, {**kept, "phase": phase, "processes": shown})

            children = [Child(program, launcher) for program in programs(lab, topology, book, servers, os.environ)]
            record("starting", children)
            supervisor = Supervisor(children, record, report, owner)
            if supervisor.start(timeout_s):
                report("running")
                supervisor.watch()
        finally:
            if supervisor:
                log.info("stopping")
                supervisor.stop()
                record("stopped", [])
            ports.close()
            log.info("stopped")


@contextlib.contextmanager
def lock(lab: LabFolder):
    """One supervisor per folder: the lock goes with the process that holds it."""
    lab.make()
    with open(lab.lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LabError(
                f"a lab is running here already (pid {file.read().strip() or 'not known yet'}): `qkd-lab down` stops it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def main() -> None:
    folder, topology, timeout, *owner = sys.argv[1:]
    lab, parent = LabFolder(Path(folder)), int(owner[0]) if owner else 0
    # Before the first thread or child: signals wait until the loop takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    lab.make()
    logging.basicConfig(
        filename=lab.log("supervisor"), level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    pipe = sys.stdout
    waiting = True

    def report(event: str, **more: Any) -> None:
        nonlocal waiting
        if not waiting:
            return
        try:
            print(json.dumps({"event": event, **more}), file=pipe, flush=True)
        except BrokenPipeError:
            # Whoever started the lab is gone before it was ready, so nobody wants it.
            raise LabError("the command that started the lab has gone") from None
        if event in ("running", "failed"):
            waiting = False
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, pipe.fileno())
            os.close(silence)

    try:
        supervise(lab, Path(topology), float(timeout), report, parent)
    except (LabError, PkiError, TopologyError, OSError) as error:
        log.error("%s", error)
        with contextlib.suppress(LabError):
            report("failed", message=str(error))
        sys.exit(1)
    finally:
        if is_orphan(parent):
            remove(lab)
            if lab.path.parent.name.startswith(TEMPORARY):
                shutil.rmtree(lab.path.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
