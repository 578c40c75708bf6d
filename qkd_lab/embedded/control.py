"""Starting and stopping the supervisor of a folder's lab, from the outside."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import qkd_lab
from qkd_lab.lab_folder import LabError, LabFolder

STOP_WITHIN_S = 90.0
TEMPORARY = "qkd-network-"  # so begins the name of a folder that goes with the lab in it
OnEvent = Callable[[str, str], None]


def start(
    lab: LabFolder,
    topology: Path,
    timeout_s: float,
    on_event: OnEvent,
    *,
    ends_with_caller: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts the lab and returns its supervisor when all of it is ready; it then runs on by itself.

    `on_event(event, process)` hears how it goes. If it does not become ready or the caller is interrupted, nothing
    is left running. With `ends_with_caller` the lab stops and goes when this process has ended, however it ended, and
    with it a folder that is `TEMPORARY`. `environment`: settings of its processes, beside this process's own. Raises
    LabError.
    """
    home = Path(qkd_lab.__file__).resolve().parent.parent
    path = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
    lab.make()
    with open(lab.log("supervisor"), "ab") as log:
        supervisor = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "qkd_lab.embedded.supervisor",
                str(lab.path),
                str(topology.resolve()),
                str(timeout_s),
                *([str(os.getpid())] if ends_with_caller else []),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=lab.path.parent,
            # Nothing in the user's folder may stand in for a module.
            env={**os.environ, **(environment or {}), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
    assert supervisor.stdout
    try:
        for line in supervisor.stdout:
            event = json.loads(line)
            if event["event"] == "failed":
                supervisor.wait()
                raise LabError(event["message"])
            on_event(event["event"], event.get("process", ""))
            if event["event"] == "running":
                return supervisor
        supervisor.wait()
        last = lab.log("supervisor").read_text(errors="replace").strip().rpartition("\n")[2]
        raise LabError(f"the lab's supervisor ended while starting: {last} (all of it: {lab.log('supervisor')})")
    except BaseException:
        if supervisor.poll() is None:
            supervisor.terminate()
            supervisor.wait()
        raise
    finally:
        supervisor.stdout.close()


def running_pid(lab: LabFolder) -> int | None:
    """The supervisor's process id while one holds the folder's lock."""
    try:
        with open(lab.lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdecimal() else None
    except OSError:
        return None
    return None


def stop(lab: LabFolder) -> bool:
    """Stops the lab and waits until nothing of it runs. False if there was nothing to stop. Raises LabError."""
    pid = running_pid(lab)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(pid, signal.SIGTERM)
        except PermissionError:
            raise LabError(f"the lab here (pid {pid}) belongs to another user: stop it as that user") from None
    until = time.monotonic() + STOP_WITHIN_S
    while _runs(pid):
        if time.monotonic() > until:
            raise LabError(f"the lab's supervisor (pid {pid}) did not stop within {STOP_WITHIN_S:.0f} s: see .lab/log")
        time.sleep(0.05)
    return True


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever is its parent now may never ask how it ended


def remove(lab: LabFolder) -> None:
    """Removes all that a stopped lab keeps: `.lab`, and its data where these lie elsewhere."""
    data = lab.read_state().get("data")
    if data and Path(data).name.startswith("qkd-lab-"):
        shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(lab.path, ignore_errors=True)
