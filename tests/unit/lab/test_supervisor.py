"""The supervisor with small stand-ins for the lab's processes; it runs in a process of its own, as it does in a lab."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]

# Runs programs given as JSON, {name: {"command", "after"?, "kind"?, "ready_file"?}}, under a supervisor; prints events.
DRIVER = """
    import json, logging, os, signal, sys
    from pathlib import Path
    from qkd_lab.embedded import supervisor
    from qkd_lab.embedded.child import Child, Program
    from qkd_lab.embedded.databases import NotReady
    from qkd_lab.embedded.launch import Launcher
    from qkd_lab.lab_folder import LabError

    def program(folder, name, spec):
        def check():
            if not (folder / spec.get("ready_file", name)).exists():
                raise NotReady("no file yet")
        return Program(name, spec.get("kind", "sae"), lambda: spec["command"], check, folder / f"{name}.log", folder,
                       dict(os.environ), after=tuple(spec.get("after", ())))

    folder = Path(sys.argv[1])
    logging.basicConfig(filename=folder / "supervisor.log", level=logging.INFO)
    signal.pthread_sigmask(signal.SIG_BLOCK, supervisor.SIGNALS)

    def say(event, **more):
        print(json.dumps({"event": event, **more}), flush=True)

    def record(phase, children):
        say("record", phase=phase, pids={child.program.name: child.pid for child in children})

    launcher = Launcher()
    children = [Child(program(folder, name, spec), launcher) for name, spec in json.loads(sys.argv[2]).items()]
    whole = supervisor.Supervisor(children, record, say)
    try:
        if whole.start(float(sys.argv[3])):
            say("running")
            whole.watch()
        say("told to stop")
    except LabError as error:
        say("failed", message=str(error))
    finally:
        whole.stop()
    say("stopped")
"""

# Says that it is ready by making a file named after it, has a worker of its own, and waits.
SERVICE = """
    import os, signal, sys, time
    from pathlib import Path
    name = sys.argv[1]
    master = os.getpid()
    worker = os.fork()
    while worker == 0:  # as a worker of gunicorn's does, it looks for its master now and then
        time.sleep(0.05)
        if os.getppid() != master:
            os._exit(0)
    Path(f"{name}.new").write_text(f"{master} {worker}")
    os.rename(f"{name}.new", f"{name}.pids")
    signal.signal(signal.SIGTERM, lambda *_: (open("order", "a").write(name + " "), os.kill(worker, 9), sys.exit(0)))
    Path(name).touch()
    while True:
        signal.pause()
"""


class Driven:
    def __init__(self, folder, programs, timeout_s=20):
        self.folder = folder
        script = textwrap.dedent(DRIVER)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), json.dumps(programs), str(timeout_s)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        self.events = []
        # A supervisor that never ends must not hold up the tests.
        self.limit = threading.Timer(60, self.process.kill)
        self.limit.start()

    def wait_for(self, event, **wanted):
        for line in self.process.stdout:
            found = json.loads(line)
            self.events.append(found)
            if found["event"] == event and wanted.items() <= found.items():
                return found
        raise AssertionError(f"the supervisor ended without {event}: {self.events}")

    def pids(self, *names):
        """Of each, the process and its worker."""
        return [int(pid) for name in names for pid in (self.folder / f"{name}.pids").read_text().split()]


@pytest.fixture
def drive(tmp_path):
    started = []

    def make(programs, **more):
        started.append(Driven(tmp_path, programs, **more))
        return started[-1]

    yield make
    for driven in started:
        driven.limit.cancel()
        driven.process.kill()
        driven.process.communicate()


def service(name, **more):
    return {name: {"command": [sys.executable, "-c", textwrap.dedent(SERVICE), name], **more}}


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition, within_s=10):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_process_starts_when_those_before_it_are_ready(drive, tmp_path):
    driven = drive({**service("kme", after=["postgres"]), **service("postgres")})
    driven.wait_for("running")
    order = [(e["event"], e["process"]) for e in driven.events if e["event"] in ("starting", "ready")]
    assert order.index(("ready", "postgres")) < order.index(("starting", "kme"))


def test_when_told_to_stop_it_stops_everything_in_order(drive, tmp_path):
    kinds = {"p": "postgres", "l": "qlink", "q": "qkde", "k": "kme", "s": "sae"}
    programs = {}
    for name, kind in kinds.items():
        programs |= service(name, kind=kind)
    driven = drive(programs)
    driven.wait_for("running")
    pids = driven.pids(*kinds)
    driven.process.send_signal(signal.SIGTERM)
    driven.wait_for("stopped")
    assert (tmp_path / "order").read_text().split() == ["s", "k", "q", "l", "p"]
    assert not any(map(alive, pids))


def test_a_killed_supervisor_leaves_nothing_running(drive):
    driven = drive({**service("one"), **service("two")})
    driven.wait_for("running")
    pids = driven.pids("one", "two")
    assert all(map(alive, pids))
    driven.process.kill()
    eventually(lambda: not any(map(alive, pids)))


def test_a_process_that_dies_is_started_again_and_its_workers_do_not_stay(drive, tmp_path):
    driven = drive(service("one"))
    driven.wait_for("running")
    master, worker = driven.pids("one")
    os.kill(master, signal.SIGKILL)
    driven.wait_for("dead", process="one")
    eventually(lambda: not alive(worker))
    driven.wait_for("ready", process="one")
    eventually(lambda: driven.pids("one")[0] != master)
    assert alive(driven.pids("one")[0])
    told = (tmp_path / "supervisor.log").read_text()
    assert "one ended (signal SIGKILL); it is started again in 0.5 s" in told


def test_a_process_that_ignores_the_request_to_stop_is_killed(drive, tmp_path, monkeypatch):
    stubborn = "import signal, pathlib, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    stubborn += "pathlib.Path('one').touch(); pathlib.Path('one.pid').write_text(str(__import__('os').getpid()));"
    stubborn += "[time.sleep(1) for _ in range(600)]"
    script = DRIVER.replace("whole.stop()", "supervisor.STOP_TIMEOUT_S = 0.2; whole.stop()")
    monkeypatch.setitem(globals(), "DRIVER", script)
    driven = drive({"one": {"command": [sys.executable, "-c", stubborn]}})
    driven.wait_for("running")
    eventually((tmp_path / "one.pid").exists)
    pid = int((tmp_path / "one.pid").read_text())
    driven.process.send_signal(signal.SIGINT)
    driven.wait_for("stopped")
    assert not alive(pid)


def test_a_process_that_had_died_already_does_not_disturb_the_stop(drive):
    driven = drive({**service("one"), **service("two", kind="postgres")})
    driven.wait_for("running")
    # Both signals are there before the supervisor looks.
    driven.process.send_signal(signal.SIGSTOP)
    os.kill(driven.pids("one")[0], signal.SIGKILL)
    driven.process.send_signal(signal.SIGTERM)
    driven.process.send_signal(signal.SIGCONT)
    driven.wait_for("stopped")
    assert not any(map(alive, driven.pids("one", "two")))


def test_a_process_that_can_not_start_is_told_with_the_last_line_of_its_log(drive):
    driven = drive({"one": {"command": ["sh", "-c", "echo the disk is full >&2; exit 3"]}})
    message = driven.wait_for("failed")["message"]
    assert "one does not start: the disk is full" in message and "one.log" in message


def test_a_program_that_is_missing_is_named(drive):
    driven = drive({"one": {"command": ["/no/such/program"]}})
    assert "/no/such/program: No such file" in driven.wait_for("failed")["message"]


def test_not_being_ready_in_time_names_who_and_why(drive):
    driven = drive({**service("one"), **service("two", ready_file="never")}, timeout_s=3)
    message = driven.wait_for("failed")["message"]
    assert "two (no file yet)" in message and "one (" not in message
    driven.wait_for("stopped")
    assert not any(map(alive, driven.pids("one", "two")))


def test_a_process_leaves_no_core_dump_and_no_file_for_others(drive, tmp_path):
    shown = "import resource, os; open('one', 'w').write(str(resource.getrlimit(resource.RLIMIT_CORE)))"
    driven = drive({"one": {"command": [sys.executable, "-c", shown + "; __import__('signal').pause()"]}})
    driven.wait_for("running")
    eventually(lambda: (tmp_path / "one").read_text() == "(0, 0)")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
