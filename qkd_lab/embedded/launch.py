"""Starts the lab's processes as children of the supervisor: unprivileged, bound to die with it, and quickly.

A service spends most of its start on imports, so one process, the launcher, imports once what they share and forks each
service from itself. It is not the supervisor that forks: that one knows the secrets of every site.

`launch.py SUPERVISOR SOCKET MODULE ...`: an order is one message on the socket, a JSON object as `Launcher.start`
writes it; the answer is the new process's number. The end of the socket is the end of the launcher.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
LONGEST_ORDER = 1 << 18


class Launcher:
    """The supervisor's side. `modules` are imported beforehand, by name; those that can't be are left out."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._begin()

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        death_signal: int,
        uid: int,
        gid: int,
    ) -> int:
        """The number of the new process, a child of this one. A command that begins with `-m` is a Python module, as
        for `python -m`; else it is a program and its arguments. uid -1: as this user. Raises OSError where there is no
        process to be had; what goes wrong in it is in its log."""
        if self._process is None or self._process.poll() is not None:
            self._begin()
        order = {
            "command": list(command),
            "environment": dict(environment),
            "folder": str(folder),
            "log": str(log),
            "death_signal": int(death_signal),
            "uid": uid,
            "gid": gid,
        }
        answer = b""
        # Only now, so that other orphans are init's to bury, as ever.
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        with contextlib.suppress(ConnectionError):
            self._orders.send(json.dumps(order).encode())
            answer = self._orders.recv(LONGEST_ORDER)
        prctl(PR_SET_CHILD_SUBREAPER, 0)
        if not answer:
            raise ChildProcessError(f"the launcher (pid {self._process.pid}) ended before it started {command[0]}")
        return int(answer)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def close(self) -> None:
        if self._process is not None:
            self._orders.close()
            self._process.kill()  # what it has started is not its own
            self._process.wait()
            self._process = None

    def _begin(self) -> None:
        self.close()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # -P: nothing that lies beside this file, or in the user's folder, may stand in for a module.
                [sys.executable, "-P", __file__, str(os.getpid()), str(theirs.fileno()), *self._modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C goes to the foreground group; who stops these is the supervisor
            )


def main() -> None:
    supervisor, descriptor, *modules = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold key material
    gc.disable()  # imports make much and leave nothing: collecting would cost a tenth of them
    with socket.socket(fileno=int(descriptor)) as orders:
        while True:
            # Programs need none of them, so they don't wait.
            while modules and not select.select([orders], [], [], 0)[0]:
                _import(modules.pop(0))
            if not (message := orders.recv(LONGEST_ORDER)):
                return
            order = json.loads(message)
            while modules and order["command"][0] == "-m":
                _import(modules.pop(0))
            if _forked(orders):
                break
    gc.enable()
    _become(int(supervisor), **order)


def _import(name: str) -> None:
    with contextlib.suppress(Exception):  # the service that needs it will say what is wrong
        importlib.import_module(name)


def _forked(orders: socket.socket) -> bool:
    """Whether this is the new process. It is forked twice: when the process between has ended, the supervisor, who asks
    for orphans meanwhile, is its parent."""
    gc.freeze()  # the memory that both share stays shared
    waiting, between_ended = os.pipe()
    between = os.fork()
    if between:
        os.close(waiting)
        os.waitpid(between, 0)
        os.close(between_ended)
        return False
    if os.fork():
        os._exit(0)
    os.close(between_ended)
    os.read(waiting, 1)
    os.close(waiting)
    orders.send(str(os.getpid()).encode())
    return True


def _become(
    supervisor: int,
    command: list[str],
    environment: dict[str, str],
    folder: str,
    log: str,
    death_signal: int,
    uid: int,
    gid: int,
) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.setsid()
    os.chdir(folder)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which clears it; exec keeps it.
    prctl(PR_SET_PDEATHSIG, death_signal)
    prctl(PR_SET_NAME, Path(log).stem.encode())  # what `ps` and `top` call it; its arguments are the launcher's
    if os.getppid() != supervisor:
        sys.exit("the parent is gone")
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(environment)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [one for one in given if one and one not in sys.path]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    program, *arguments = command
    if program == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    try:
        os.execvp(program, command)
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")


def prctl(option: int, value: int | bytes) -> None:
    """Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
