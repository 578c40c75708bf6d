"""`qkd-lab sweep`: whatever happens to it, no finished point is lost and none is computed twice."""

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time

import psutil
import pytest

from qkd_lab.experiments import computed, local_workers, results
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.experiment import read
from qkd_lab.experiments.tasks import tasks_of

from experiments_written import FORMULAS, SMALL, identities, rows_of, start, written

LONG = SMALL.replace("pulses = 2e4", "pulses = 2e5").replace("repetitions = 2", "repetitions = 10")
EXPECTED = sorted([("simulated", point, repetition) for point in range(2) for repetition in range(10)]
                  + [("theory", point, 0) for point in range(2)])  # fmt: skip


def wait_for(condition, process, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)


def workers_of(process):
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has ended
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def without_clock(rows):
    return sorted(
        ({name: value for name, value in row.items() if name not in ("elapsed_s", "commit")} for row in rows),
        key=lambda row: (row["series"], row["point"], row["repetition"]),
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The small experiment by one worker and by two."""
    folder = tmp_path_factory.mktemp("swept")
    path = written(folder, SMALL)
    for count in (1, 2):
        process = start("sweep", path, "-o", folder / f"{count}.jsonl", "--workers", count, "--parquet", cwd=folder)
        output, complaints = process.communicate()
        assert process.returncode == 0, complaints
        assert f"{count}.jsonl: 6 points in" in output and "points/s" in output
        assert ("on 1 core," if count == 1 else "on 2 cores,") in output
    return folder


def test_every_row_tells_all_that_it_depends_on(swept):
    rows = rows_of(swept / "1.jsonl")
    assert identities(rows) == sorted(
        [("simulated", point, repetition) for point in range(2) for repetition in range(2)]
        + [("theory", point, 0) for point in range(2)]
    )
    for row in rows:
        assert {"seed", "version", "commit", "elapsed_s", "parameters", "result", "kind"} <= set(row)
        assert row["parameters"]["pulses"] == 20_000 and row["parameters"]["qber_tolerance"] == 0.1


def test_the_number_of_workers_changes_nothing_but_the_time(swept):
    assert without_clock(rows_of(swept / "1.jsonl")) == without_clock(rows_of(swept / "2.jsonl"))


def test_a_row_can_be_computed_again_from_what_it_says(swept):
    tasks = {task.identity: task for task in tasks_of(read(str(swept / "experiment.toml")))}
    row = next(row for row in rows_of(swept / "2.jsonl") if row["kind"] == "simulation")
    task = tasks[row["series"], row["point"], row["repetition"]]
    assert task.seed == row["seed"] and computed.compute(task)[0] == row["result"]


def test_parquet_has_the_rows_too(swept):
    from pyarrow import parquet

    table = parquet.read_table(swept / "1.parquet").to_pylist()
    assert len(table) == 6
    by_seed = {row["seed"]: row for row in rows_of(swept / "1.jsonl")}
    for row in table:
        assert row["result.qber_test"] == by_seed[row["seed"]]["result"]["qber_test"]
        assert row["parameters.depolarizing"] == by_seed[row["seed"]]["parameters"]["depolarizing"]


def test_a_finished_sweep_repeats_nothing(tmp_path, qkd_lab, monkeypatch):
    path = written(tmp_path, FORMULAS)
    assert qkd_lab("sweep", path, "--workers", 1)[0] == 0
    before = (tmp_path / "experiment.jsonl").read_bytes()
    monkeypatch.setattr(local_workers, "run", lambda *_: pytest.fail("a point was run again"))
    code, output, complaints = qkd_lab("sweep", path)
    assert code == 0 and "8 of 8 points are there" in complaints and "nothing was left to do" in output
    assert (tmp_path / "experiment.jsonl").read_bytes() == before


@pytest.mark.parametrize("cut", [1, 300])
def test_a_half_written_last_line_is_computed_again(tmp_path, qkd_lab, cut):
    path, found = written(tmp_path, FORMULAS), tmp_path / "experiment.jsonl"
    assert qkd_lab("sweep", path, "--workers", 1)[0] == 0
    whole = found.read_bytes()
    found.write_bytes(whole[:-cut])
    code, output, complaints = qkd_lab("sweep", path)
    assert code == 0 and "7 of 8 points are there" in complaints and "1 points in" in output
    assert identities(rows_of(found)) == [("decoys", point, 0) for point in range(8)]
    assert all(json.loads(line) for line in found.read_bytes().splitlines())


def test_a_half_written_header_is_written_again(tmp_path, qkd_lab):
    path, found = written(tmp_path, FORMULAS), tmp_path / "experiment.jsonl"
    found.write_bytes(b'{"format": "qkd-lab re')
    assert qkd_lab("sweep", path, "--workers", 1)[0] == 0
    assert len(rows_of(found)) == 8 == len(results.read(found).rows)


@pytest.mark.parametrize("at_least", [0, 2])  # 0: workers are still being started
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path, at_least):
    path, found = written(tmp_path, LONG), tmp_path / "experiment.jsonl"
    process = start("sweep", path, "--workers", 2, cwd=tmp_path, start_new_session=True)
    wait_for(lambda: workers_of(process) and len(rows_of(found)) >= at_least, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
    output, complaints = process.communicate(timeout=60)
    assert process.returncode == 130 and output == ""
    finished = len(rows_of(found))
    assert complaints == f"interrupted; {finished} of 22 points are in experiment.jsonl: the same command goes on\n"
    assert at_least <= finished < 22
    goes_on_to_the_end(path, found, finished)


def test_who_stops_iterating_leaves_neither_workers_nor_threads(tmp_path):
    before = set(threading.enumerate())
    tasks = list(tasks_of(read(written(tmp_path, FORMULAS))))
    results_so_far = local_workers.run(tasks, 2)
    next(results_so_far)
    results_so_far.close()
    # One that goes on while the interpreter ends may complain about pipes that it has closed itself.
    assert set(threading.enumerate()) <= before and not multiprocessing.active_children()


def test_what_was_killed_loses_only_points_that_were_not_finished(tmp_path):
    path, found = written(tmp_path, LONG), tmp_path / "experiment.jsonl"
    process = start("sweep", path, "--workers", 2, cwd=tmp_path, start_new_session=True)
    wait_for(lambda: len(rows_of(found)) >= 2, process)
    process.kill()
    process.communicate(timeout=60)  # returns when the workers have closed their end of the pipes: they ended, too
    assert process.returncode == -signal.SIGKILL
    goes_on_to_the_end(path, found, len(rows_of(found)))


def goes_on_to_the_end(path, found, finished):
    process = start("sweep", path, "--workers", 2, cwd=path.parent)
    output, complaints = process.communicate()
    assert process.returncode == 0, complaints
    assert not finished or f"{finished} of 22 points are there" in complaints
    assert f"{22 - finished} points in" in output
    assert identities(rows_of(found)) == EXPECTED


def test_a_worker_that_died_is_one_line_and_the_rest_can_be_gone_on_with(tmp_path):
    path, found = written(tmp_path, LONG), tmp_path / "experiment.jsonl"
    process = start("sweep", path, "--workers", 1, cwd=tmp_path)
    wait_for(lambda: len(rows_of(found)) >= 1, process)
    workers_of(process)[0].kill()
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 1 and complaints.count("\n") == 1
    assert "a worker process died, perhaps for lack of memory" in complaints and "of 22 points are in" in complaints


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda header: header["experiment"].update(hash="0" * 64), "key experiment.hash: expected"),
        (lambda header: header.update(version="0.0.1"), "key version: expected"),
        (lambda header: header.update(format="qkd-lab results 0"), "key format: expected 'qkd-lab results 1'"),
    ],
)
def test_results_of_another_experiment_or_version_are_not_gone_on_with(tmp_path, qkd_lab, change, complaint):
    path, found = written(tmp_path, FORMULAS), tmp_path / "experiment.jsonl"
    assert qkd_lab("sweep", path, "--workers", 1)[0] == 0
    first, *rest = found.read_text().splitlines(keepends=True)
    header = json.loads(first)
    change(header)
    found.write_text(json.dumps(header) + "\n" + "".join(rest))
    before = found.read_bytes()
    code, output, complaints = qkd_lab("sweep", path)
    assert (code, output, complaints.count("\n")) == (1, "", 1)
    assert complaints.startswith("qkd-lab: experiment.jsonl: ") and complaint in complaints
    assert found.read_bytes() == before


@pytest.mark.parametrize("text", [FORMULAS, "a line without its end"])
def test_a_file_that_is_no_results_is_left_alone(tmp_path, qkd_lab, text):
    path, other = written(tmp_path, FORMULAS), tmp_path / "notes.txt"
    other.write_text(text)
    code, _, complaints = qkd_lab("sweep", path, "-o", other)
    assert code == 1 and complaints.count("\n") == 1 and other.read_text() == text


@pytest.mark.parametrize(
    ("output", "complaint"), [(".", ".: Is a directory"), ("no/such.jsonl", "no/such.jsonl: No such file")]
)
def test_a_place_that_takes_no_results_is_named_in_one_line(tmp_path, qkd_lab, output, complaint):
    code, _, complaints = qkd_lab("sweep", written(tmp_path, FORMULAS), "-o", output)
    assert code == 1 and complaints.startswith(f"qkd-lab: {complaint}") and complaints.count("\n") == 1
    assert "expected a place to write results" in complaints


def test_a_new_figure_of_the_same_points_needs_no_new_run(tmp_path, qkd_lab):
    path, found = written(tmp_path, FORMULAS), tmp_path / "experiment.jsonl"
    assert qkd_lab("sweep", path, "--workers", 1)[0] == 0
    written(tmp_path, FORMULAS.replace("secret_bits_per_pulse", "gain"))
    code, output, _ = qkd_lab("sweep", path)
    assert code == 0 and "nothing was left to do" in output
    assert results.read(found).header["experiment"]["panels"][0]["y"] == ["gain"]


def test_two_sweeps_do_not_write_to_one_file(tmp_path, qkd_lab):
    path = written(tmp_path, FORMULAS)
    with (tmp_path / "experiment.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        code, _, complaints = qkd_lab("sweep", path)
    assert code == 1 and "another sweep writes to it" in complaints


def test_a_row_is_written_once_however_often_its_result_comes(tmp_path):
    experiment = read(str(written(tmp_path, FORMULAS)))
    task = next(tasks_of(experiment))
    file = results.ResultsFile(tmp_path / "rows.jsonl", experiment)
    for _ in range(2):
        file.add(task, {"gain": 0.5}, 1.0, {"version": "1", "commit": None})
    file.close()
    assert len(rows_of(tmp_path / "rows.jsonl")) == 1


def test_parquet_without_its_package_is_said_before_the_sweep(tmp_path, qkd_lab, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    code, _, complaints = qkd_lab("sweep", written(tmp_path, FORMULAS), "--parquet")
    assert code == 1 and "--parquet needs the package pyarrow: pip install -e '.[research]'" in complaints
    assert not (tmp_path / "experiment.jsonl").exists()


def test_a_result_that_json_does_not_have_is_not_written(tmp_path):
    experiment = read(str(written(tmp_path, FORMULAS)))
    file = results.ResultsFile(tmp_path / "rows.jsonl", experiment)
    with pytest.raises(ValueError):
        file.add(next(tasks_of(experiment)), {"gain": float("nan")}, 1.0, {})
    file.close()
    assert rows_of(tmp_path / "rows.jsonl") == []
    with pytest.raises(ExperimentError):
        results.read(tmp_path / "nothing.jsonl")
