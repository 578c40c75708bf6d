"""A sweep on a Dask cluster: a real scheduler and two worker processes, one of which is killed."""

import json
import subprocess
import sys
import time

import pytest

from qkd_lab.experiments import computed
from qkd_lab.experiments.experiment import read
from qkd_lab.experiments.tasks import tasks_of

from experiments_written import ENVIRONMENT, SMALL, identities, rows_of, start, written

LONG = SMALL.replace("pulses = 2e4", "pulses = 2e5").replace("repetitions = 2", "repetitions = 12")
LOG = "cluster.log"  # of all processes of a cluster


def wait_for(condition, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def dask_process(tmp_path):
    """Starts processes of a cluster on loopback; they end with the test."""
    processes = []

    def run(module, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
        with (tmp_path / LOG).open("a") as log:
            process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=log, stderr=log)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler_process(tmp_path, dask_process):
    file = tmp_path / "scheduler.json"
    return dask_process("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))


@pytest.fixture
def scheduler(tmp_path, scheduler_process):
    """Its address."""
    file = tmp_path / "scheduler.json"

    def address():
        try:
            return json.loads(file.read_text())["address"]
        except (OSError, ValueError):
            return None

    wait_for(address)
    return address()


@pytest.fixture
def workers(tmp_path, dask_process, scheduler):
    """Starts so many, and waits until the scheduler has them: a sweep does not wait for long."""

    def start_workers(count):
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--local-directory", "."]
        started = [dask_process("dask_worker", scheduler, *options) for _ in range(count)]
        wait_for(lambda: (tmp_path / LOG).read_text().count("Registered to:") == count)
        return started

    return start_workers


def test_no_point_is_lost_or_counted_twice_when_a_worker_is_killed(tmp_path, workers, scheduler):
    path, found = written(tmp_path, LONG), tmp_path / "experiment.jsonl"
    first, _ = workers(2)
    sweep = start("sweep", path, "--dask", scheduler, cwd=tmp_path)
    wait_for(lambda: len(rows_of(found)) >= 3 or sweep.poll() is not None)
    assert len(rows_of(found)) < 26, "nothing was left to lose"
    first.kill()
    output, complaints = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, complaints
    assert "26 points in" in output and f"on the cluster {scheduler}" in output
    rows = rows_of(found)
    assert identities(rows) == sorted(task.identity for task in tasks_of(read(str(path))))
    # The same as anywhere else.
    tasks = {task.identity: task for task in tasks_of(read(str(path)))}
    last = rows[-1]
    assert computed.compute(tasks[last["series"], last["point"], last["repetition"]])[0] == last["result"]


def test_a_scheduler_that_goes_is_one_line_and_the_rest_can_be_gone_on_with(
    tmp_path, workers, scheduler, scheduler_process
):
    found = tmp_path / "experiment.jsonl"
    workers(1)
    sweep = start("sweep", written(tmp_path, LONG), "--dask", scheduler, cwd=tmp_path)
    wait_for(lambda: rows_of(found) or sweep.poll() is not None)
    scheduler_process.kill()
    _, complaints = sweep.communicate(timeout=120)
    assert sweep.returncode == 1 and complaints.count("\n") == 1, complaints
    assert "the scheduler has gone" in complaints
    assert f"{len(rows_of(found))} of 26 points are in experiment.jsonl: the same command goes on" in complaints


def test_a_scheduler_without_workers_is_one_line(tmp_path, scheduler):
    sweep = start("sweep", written(tmp_path, SMALL), "--dask", scheduler, cwd=tmp_path)
    _, complaints = sweep.communicate(timeout=120)
    assert sweep.returncode == 1 and complaints.count("\n") == 1
    assert f"--dask {scheduler}: the scheduler has no workers, expected one at least" in complaints


def test_a_dead_address_is_one_line_within_seconds(tmp_path):
    sweep = start("sweep", written(tmp_path, SMALL), "--dask", "tcp://127.0.0.1:9", cwd=tmp_path)
    _, complaints = sweep.communicate(timeout=120)
    assert sweep.returncode == 1 and complaints.count("\n") == 1
    assert "--dask tcp://127.0.0.1:9: no Dask scheduler answers there within 5 s" in complaints
    assert "0 of 6 points are in" in complaints


@pytest.mark.parametrize("address", ["nonsense://x:1", "127.0.0.1", "tcp://127.0.0.1", "tcp://x:99999", "tcp://[x:1"])
def test_what_is_no_address_is_one_line(tmp_path, qkd_lab, address):
    code, _, complaints = qkd_lab("sweep", written(tmp_path, SMALL), "--dask", address)
    assert code == 1 and complaints.count("\n") == 1
    assert f"--dask {address}: no address, expected that of a running scheduler, such as tcp://" in complaints
