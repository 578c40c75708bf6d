"""Becomes another program, as an unprivileged user and bound to die with its parent.

`launch.py PARENT SIGNAL UID GID PROGRAM ...`: a program of its own, since between fork and exec of a process with
threads no Python may safely run. Run with `-I -S` it needs the standard library alone and takes 15 ms.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid, *program = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Ctrl-C goes to the foreground group; who stops this program is its supervisor.
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold key material
    if int(uid) >= 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user, which clears it; exec keeps it.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    os.umask(0o077)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
