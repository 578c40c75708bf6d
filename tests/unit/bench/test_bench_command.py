"""`qkd-lab bench` where it is asked for what can't be, and what it shows."""

import io
import json

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from qkd_lab.bench import pool_sizes
from qkd_lab.bench import run as runs
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driven
from qkd_lab.bench.pool_sizes import Sized
from qkd_lab.bench.run import Measured, Run
from qkd_lab.bench.scripts_alone import ScriptAlone
from qkd_lab.bench.sustained import Flow
from qkd_lab.bench.table import cells_table, floor_table, pool_sizes_table, scripts_table
from qkd_lab.cli.bench import bench
from qkd_lab.lab_folder import LabError


def measured(method="enc_keys", number=1, clients=8, errors=None, cpu_s=0.2, floor_answered=100):
    cell = Cell(method, number, "keep-alive", clients, 100)
    answered = 100 - sum((errors or {}).values())
    load = Load(100, answered, 0.5, tuple(range(1, 101))[:answered], errors or {}, 0.01)
    return Measured(cell, Load(100, floor_answered, 0.25, (1.0,), {}, 0.01), Driven(load, cpu_s, cpu_s))


def the_run(*cells):
    return Run("key files", 3, 1, {}, list(cells), [ScriptAlone("take_keys", 128, 16, 100, 2.0)], is_complete=True)


def shown(*tables):
    out = Console(file=io.StringIO(), width=200)
    for table in tables:
        out.print(table)
    return out.file.getvalue()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--method", "get_keys"], ["--method", "get_keys", "enc_keys", "dec_keys"]),
        (["--clients", "0"], ["--clients", "'0'", "1 to 300"]),
        (["--clients", "8,x"], ["--clients", "'x'", "integers"]),
        (["--number", "129"], ["--number", "'129'", "1 to 128"]),
        (["--connections", "old"], ["--connections", "keep-alive", "new"]),
        (["--requests", "0"], ["--requests", "0"]),
        (["--check", "--sustained"], ["--check", "--sustained", "expected one of them"]),
        (["--check", "--pool-sizes", "1000"], ["--pool-sizes", "expected one of them"]),
        (["--pool-sizes", "10"], ["--pool-sizes", "'10'", "1000 to 1000000"]),
        (["--check", "--plot", "x.png"], ["--plot", "leave out"]),
        (["--json", "."], ["--json", "directory"]),
    ],
)
def test_what_cant_be_measured_is_named_with_what_was_expected(arguments, words):
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 2
    assert all(word in done.output for word in words), done.output


@pytest.mark.parametrize("place, words", [("x.gif", ".png, .svg, .pdf"), ("none/x.png", "no folder")])
def test_a_place_where_no_figure_can_be_drawn_is_named_before_anything_is_measured(tmp_path, place, words):
    done = CliRunner().invoke(bench, ["--plot", str(tmp_path / place)])
    assert isinstance(done.exception, LabError) and words in str(done.exception)


def test_without_a_lab_the_bench_says_how_to_start_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(bench, [])
    assert isinstance(done.exception, LabError) and "no lab in" in str(done.exception)


def test_the_table_has_rates_percentiles_the_share_of_the_floor_processors_and_errors():
    text = shown(cells_table(the_run(measured(number=128))))
    (row,) = [line for line in text.splitlines() if "enc_keys" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        *("enc_keys", "128", "keep-alive", "8", "200", "25,600", "50.0", "95.0", "99.0", "50%", "2.00", "2.00", "0.10"),
        "0",
    ]


def test_refused_requests_are_no_throughput():
    one = measured(number=128, errors={"429": 60})
    assert (one.load.per_s, one.keys_per_s, one.of_floor) == (80.0, 80.0 * 128, 0.2)
    found = one.as_json()
    assert (found["requests"], found["answered"], found["requests_per_s"]) == (100, 40, 80.0)
    assert "│ 80 │" in " ".join(shown(cells_table(the_run(one))).split())
    assert "60 × 429" in shown(cells_table(the_run(one)))


def test_where_nothing_is_answered_there_is_no_rate_no_latency_and_no_share():
    text = shown(cells_table(the_run(measured(errors={"503": 100}, floor_answered=0))))
    (row,) = [line for line in text.splitlines() if "enc_keys" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")][4:10] == ["0", "0", "–", "–", "–", "–"]


def test_processes_that_are_not_on_this_machine_have_no_figure():
    run = the_run(measured(cpu_s=None))
    assert "–" in shown(cells_table(run)) and run.as_json()["cells"][0]["kme_cpu_ms"] is None


@pytest.fixture
def ran(operator, tmp_path, monkeypatch):
    """Runs the command over measurements that are given, then an error; gives its result and what it wrote."""
    monkeypatch.chdir(tmp_path)

    def run(*cells, error=None):
        def measure(run, *_):
            for cell in cells:
                run.measured.append(cell)
            if error is not None:
                raise error
            run.is_complete = True

        monkeypatch.setattr(runs, "bench", measure)
        file = tmp_path / "bench.json"
        done = CliRunner().invoke(bench, ["--json", str(file)], standalone_mode=False)
        return done, json.loads(file.read_text()) if file.exists() else None

    return run


@pytest.mark.parametrize("error", [LabError("the bench ended early: 429"), KeyboardInterrupt()])
def test_what_was_measured_before_a_failure_or_an_interruption_is_shown_and_written_as_incomplete(ran, error):
    done, written = ran(measured(), error=error)
    assert done.exception is error or isinstance(done.exception, click.Abort)
    assert "ended early, with 1 of 32 measured" in done.output and "enc_keys" in done.output
    assert not written["complete"] and len(written["cells"]) == 1


def test_pool_sizes_that_were_measured_before_a_failure_are_shown_and_written_as_incomplete(
    operator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def measure(*_):
        yield Sized(1000, measured().driven)
        raise LabError("the bench ended early: 429")

    monkeypatch.setattr(pool_sizes, "measure_pool_sizes", measure)
    done = CliRunner().invoke(bench, ["--pool-sizes", "1000,2000,3000", "--json", "sizes.json"])
    written = json.loads((tmp_path / "sizes.json").read_text())
    assert isinstance(done.exception, LabError) and "ended early, with 1 of 3 measured" in done.output
    assert not written["complete"] and [one["key_count"] for one in written["sizes"]] == [1000]


def test_a_run_that_fails_before_its_first_measurement_writes_nothing(ran):
    done, written = ran(error=LabError("refused"))
    assert isinstance(done.exception, LabError) and written is None and "early" not in done.output


@pytest.mark.parametrize("errors, exit_code", [({}, 0), ({"429": 60}, 1)])
def test_a_run_with_errors_is_shown_and_written_and_ends_in_exit_status_1(ran, errors, exit_code):
    done, written = ran(measured(errors=errors))
    # Without its own handling click gives what `Exit` carries.
    assert (done.return_value or 0) == exit_code and not done.exception
    assert written["complete"] and "early" not in done.output


def test_an_error_of_the_floor_counts_too():
    good = measured()
    floor = Load(100, 99, 0.25, (1.0,), {"connection broken": 1}, 0.01)
    assert the_run(Measured(good.cell, floor, good.driven)).had_errors and not the_run(good).had_errors


def test_each_floor_is_shown_once_and_the_scripts_with_their_keys():
    run = the_run(measured(), measured(number=128), measured(clients=1))
    assert shown(floor_table(run)).count("ab ") == 2
    assert "6,400" in shown(scripts_table(run))


def test_rates_of_small_and_large_pools_are_shown():
    found = [Sized(1000, measured().driven), Sized(1_000_000, measured(errors={"other length": 1}).driven)]
    text = shown(pool_sizes_table(found, "key files", 2))
    assert "1,000,000" in text and "1 × other length" in text and text.count("50.0") == 2


def test_the_sustained_rate_is_told_with_the_share_of_each_stage():
    flow = Flow(6000, 10.0, 5, 2_000_000, {"transmission": 4.0, "sifting": 1.0}, {"enc_keys": 0.5}, {"qlink-a-b": 2.0})
    lines = flow.in_words().splitlines()
    assert lines[0].startswith("600 keys/s of 256 bits at both SAEs") and "200,000 secret bits/s" in lines[0]
    shares = {name: share for name, share in (line.strip().rsplit(maxsplit=1) for line in lines if "%" in line[-1:])}
    assert shares == {
        "transmission": "40.0%",
        "sifting": "10.0%",
        "between rounds": "50.0%",
        "enc_keys": "5.0%",
        "qlink-a-b": "20.0%",
    }
