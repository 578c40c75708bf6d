"""Processes are forked by a launcher that has imported what they share; they are children of whoever ordered them."""

import contextlib
import json
import os
import signal
import sys
import threading

import pytest

from qkd_lab.embedded.launch import Launcher

# Tells in its log what it finds.
SHOWN = """
import json, os, sys
if __name__ == "__main__":
    print(json.dumps({"arguments": sys.argv, "environment": dict(os.environ), "parent": os.getppid(),
                      "folder": os.getcwd(), "imported": "wave" in sys.modules, "group": os.getpgid(0) == os.getpid(),
                      "name": open("/proc/self/comm").read().strip()}))
    sys.exit(3)
"""


@pytest.fixture
def launcher(monkeypatch, tmp_path):
    (tmp_path / "shown.py").write_text(SHOWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "broken.py").write_text("this is no Python")
    with contextlib.closing(Launcher(["not_installed_here", "broken", "wave"])) as one:
        yield one


def started(launcher, folder, command, **environment):
    return launcher.start(
        command, environment=environment, folder=folder, log=folder / "log", death_signal=signal.SIGKILL, uid=-1, gid=-1
    )


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told(folder):
    return json.loads((folder / "log").read_text())


def test_a_module_runs_as_by_python_m_with_imports_done_and_in_an_environment_of_its_own(launcher, tmp_path):
    assert ended(started(launcher, tmp_path, ["-m", "shown", "one"], WORD="here")) == 3
    assert told(tmp_path) == {
        "arguments": [str(tmp_path / "shown.py"), "one"],
        "environment": {"WORD": "here"},
        "parent": os.getpid(),
        "folder": str(tmp_path),
        "imported": True,
        "group": True,
        "name": "log",
    }


def test_a_program_is_a_child_of_whoever_ordered_it(launcher, tmp_path):
    assert ended(started(launcher, tmp_path, ["/bin/sh", "-c", "echo $PPID; exit 5"])) == 5
    assert (tmp_path / "log").read_text() == f"{os.getpid()}\n"


def test_a_launcher_that_was_killed_is_replaced_and_what_it_started_goes_on(launcher, tmp_path):
    waiting = started(launcher, tmp_path, ["/bin/sh", "-c", "exec sleep 60"])
    os.kill(launcher.pid, signal.SIGKILL)
    os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
    assert ended(started(launcher, tmp_path, ["/bin/sh", "-c", "exit 6"])) == 6
    assert os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOHANG) is None
    os.kill(waiting, signal.SIGKILL)
    assert ended(waiting) == -signal.SIGKILL


def test_a_launcher_that_ends_in_the_middle_of_an_order_is_named(launcher, tmp_path):
    os.kill(launcher.pid, signal.SIGSTOP)
    timer = threading.Timer(1, os.kill, (launcher.pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(ChildProcessError, match=f"pid {launcher.pid}. ended before it started /bin/true"):
        started(launcher, tmp_path, ["/bin/true"])


def test_what_goes_wrong_before_a_module_runs_is_in_its_log(launcher, tmp_path):
    assert ended(started(launcher, tmp_path, ["-m", "not_installed_here"])) == 1
    assert "No module named not_installed_here" in (tmp_path / "log").read_text()


def test_a_started_process_holds_nothing_of_the_launcher_open(launcher, tmp_path):
    listing = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    assert ended(started(launcher, tmp_path, [sys.executable, "-c", listing])) == 0
    assert (tmp_path / "log").read_text().strip() == "['0', '1', '2', '3']"  # 3: the folder that is listed
