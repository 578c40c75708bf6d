"""Removes what a test process has left of networks in containers, however it ended.

It is a child of that process; once it is an orphan, it removes the containers labelled with its session, and their
folders, and ends. A session is `<host>:<process id>:<when the process started>`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from qkd_lab.embedded.control import TEMPORARY

LABEL = "qkd-lab.testing.session"
POLL_S = 0.5


def session_label() -> str:
    """This process's own; a process forked from it has another."""
    return _session_of(os.getpid())


@functools.cache
def _session_of(pid: int) -> str:
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{socket.gethostname()}:{pid}:{started}"


@functools.cache
def reap_after(session: str) -> int:
    """Starts one reaper for this process; its process id."""
    program = [sys.executable, "-c", "from qkd_lab.testing import reaper; reaper.main()", session]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return os.posix_spawn(sys.executable, program, environment, setsid=True)


def folder_prefix(session: str) -> str:
    """Of the temporary folders of a test process's networks. It tells when the process started: one of another
    container that shares the place may have the same id."""
    _, pid, started = session.rsplit(":", 2)
    return f"{TEMPORARY}{pid}-{started}-"


def remove_containers(session: str) -> None:
    import docker

    client = docker.from_env()
    try:
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}={session}"}):
            with contextlib.suppress(docker.errors.APIError):  # it is being removed already
                container.remove(force=True, v=True)
    finally:
        client.close()


def main() -> None:
    (session,) = sys.argv[1:]
    # Ctrl-C in a terminal is for the tests, which stop their networks themselves if they can.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = int(session.rsplit(":", 2)[1])
    while os.getppid() == owner:
        time.sleep(POLL_S)
    remove_containers(session)
    for folder in Path(tempfile.gettempdir()).glob(f"{folder_prefix(session)}*"):
        shutil.rmtree(folder, ignore_errors=True)
