"""`qkd-lab bench` where it is asked for what can't be, and what it shows."""

import io
import json
import signal
import sys
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from qkd_lab.bench import pool_sizes
from qkd_lab.bench import run as runs
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.check import Checked
from qkd_lab.bench.driver import Driven
from qkd_lab.bench.pool_sizes import Sized
from qkd_lab.bench.run import Measured, Run
from qkd_lab.bench.scripts_alone import ScriptAlone
from qkd_lab.bench.sustained import Flow
from qkd_lab.bench.table import beside_table, cells_table, pool_sizes_table, scripts_table
from qkd_lab.cli.bench import bench
from qkd_lab.lab_folder import LabError


def beside(per_s, errors=0):
    kinds = {"connection broken": errors} if errors else {}
    return Load(100, 100 - errors, (100 - errors) / per_s, (1.0,), kinds, 0.01)


def measured(method="enc_keys", number=1, clients=8, errors=None, cpu_s=0.2, floor_answered=100, **others):
    cell = Cell(method, number, "keep-alive", clients, 100)
    answered = 100 - sum((errors or {}).values())
    load = Load(100, answered, 0.5, tuple(range(1, 101))[:answered], errors or {}, 0.01)
    return Measured(cell, Load(100, floor_answered, 0.25, (1.0,), {}, 0.01), Driven(load, cpu_s, cpu_s), **others)


def row_of(text):
    (row,) = [line for line in text.splitlines() if line.startswith(("│ enc_keys", "│ dec_keys"))]
    return [cell.strip() for cell in row.strip("│").split("│")]


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
        (["--seconds", "9"], ["--seconds has no effect: it belongs to --sustained"]),
        (["--check", "--seconds", "30"], ["--seconds has no effect beside --check", "belongs to --sustained"]),
        (["--check", "--method", "enc_keys"], ["--method has no effect beside --check", "every combination"]),
        (["--check", "--connections", "new"], ["--connections has no effect beside --check"]),
        (["--pool-sizes", "1000", "--method", "enc_keys"], ["--method has no effect beside --pool-sizes"]),
        (["--pool-sizes", "1000", "--number", "1"], ["--number has no effect", "or --check"]),
        (["--pool-sizes", "1000", "--connections", "new"], ["--connections has no effect"]),
        (["--sustained", "--clients", "1"], ["--clients has no effect beside --sustained"]),
        (["--sustained", "--requests", "2000"], ["--requests has no effect beside --sustained"]),
        (["--sustained", "--number", "1"], ["--number has no effect beside --sustained"]),
    ],
)
def test_what_cant_be_measured_is_named_with_what_was_expected(arguments, words):
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 2
    output = " ".join(done.output.split())
    assert all(word in output for word in words), done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "enc_keys", "--number", "1", "--connections", "new", "--clients", "8", "--requests", "9"],
        ["--check", "--number", "1", "--requests", "3000", "--clients", "32"],
        ["--pool-sizes", "1000,10000", "--clients", "32", "--requests", "10000", "--plot", "x.png"],
        ["--sustained", "--seconds", "30", "--link", "a-b", "--json", "x.json"],
    ],
)
def test_options_that_belong_to_a_run_are_no_wrong_usage(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(bench, arguments)
    assert isinstance(done.exception, LabError) and "no lab in" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place, words", [("x.gif", ".png, .svg, .pdf"), ("none/x.png", "no folder")])
def test_a_place_where_no_figure_can_be_drawn_is_named_before_anything_is_measured(tmp_path, place, words):
    done = CliRunner().invoke(bench, ["--plot", str(tmp_path / place)])
    assert isinstance(done.exception, LabError) and words in str(done.exception)
    assert str(done.exception).startswith(f"--plot: {tmp_path / place}: ")


@pytest.mark.parametrize("option, name", [("--json", "none/x.json"), ("--json", "file/x.json")])
def test_a_file_that_cant_be_written_is_named_before_anything_is_measured(tmp_path, option, name):
    (tmp_path / "file").touch()
    done = CliRunner().invoke(bench, [option, str(tmp_path / name)])
    assert isinstance(done.exception, LabError)
    assert str(done.exception).startswith(f"{option}: {tmp_path / name}: ")
    assert "expected a file in a folder that is there" in str(done.exception)


@pytest.fixture
def measuring(operator, monkeypatch):
    """Runs the command on a lab where everything has been measured already. `meanwhile` is called during that."""

    def invoke(*arguments, meanwhile=lambda: None):
        def measure(run, *_):
            meanwhile()
            run.measured.append(measured())
            run.is_complete = True

        monkeypatch.setattr(sys.modules["qkd_lab.cli.bench"], "Operator", lambda lab: operator)
        monkeypatch.setattr("qkd_lab.bench.run.bench", measure)
        monkeypatch.setattr("qkd_lab.bench.check.run_check", lambda *_: meanwhile() or Checked(3, 2, 1))
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            return CliRunner().invoke(bench, [str(one) for one in arguments])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    return invoke


def test_results_are_kept_in_files(measuring, tmp_path):
    pytest.importorskip("matplotlib")
    done = measuring("--json", tmp_path / "x.json", "--plot", tmp_path / "x.svg")
    assert done.exit_code == 0 and "enc_keys" in done.output
    assert json.loads((tmp_path / "x.json").read_text())["cells"]
    assert "<svg" in (tmp_path / "x.svg").read_text()


def test_results_are_shown_and_drawn_where_json_cant_be_written_in_the_end(measuring, tmp_path):
    pytest.importorskip("matplotlib")
    place = tmp_path / "x.json"
    done = measuring("--json", place, "--plot", tmp_path / "x.svg", meanwhile=place.mkdir)
    assert str(done.exception).startswith(f"--json: {place}: Is a directory; expected")
    assert "enc_keys" in done.output and (tmp_path / "x.svg").exists()


def test_a_check_that_finds_something_tells_it_and_what_could_not_be_written(measuring, tmp_path):
    place = tmp_path / "x.json"
    done = measuring("--check", "--json", place)
    assert "1 different" in str(done.exception) and json.loads(place.read_text())["is_well"] is False
    place.unlink()
    done = measuring("--check", "--json", place, meanwhile=place.mkdir)
    assert "1 different" in str(done.exception) and f"--json: {place}: Is a directory" in str(done.exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_cleans_up_whoever_ends_it_and_how_often_it_is_told(measuring, operator, number):
    ends = []

    def meanwhile():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGHUP)  # while it cleans up
            ends.append("clean")

    done = measuring(meanwhile=meanwhile)
    assert done.exit_code == 1 and ends == ["clean"]
    assert not list((operator.lab.path / "bench").glob("run-*"))


def test_a_closed_terminal_is_nothing_to_one_that_was_begun_with_nohup(measuring):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = measuring(meanwhile=lambda: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert done.exit_code == 0 and "enc_keys" in done.output


def test_without_a_lab_the_bench_says_how_to_start_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(bench, [])
    assert isinstance(done.exception, LabError) and "no lab in" in str(done.exception)


def test_the_table_has_rates_percentiles_the_share_of_the_floor_processors_and_errors():
    text = shown(cells_table(the_run(measured(number=128))))
    assert row_of(text) == [
        *("enc_keys", "128", "keep-alive", "8", "200", "25,600", "50.0", "95.0", "99.0", "50%", "–", "–"),
        *("2.00", "2.00", "0.10", "0"),
    ]


def test_a_cell_is_compared_with_gunicorn_as_it_comes_and_dec_keys_with_enc_keys_by_the_same_generator():
    one = measured("dec_keys", gunicorn=beside(250.0), enc_keys=beside(160.0))
    assert row_of(shown(cells_table(the_run(one))))[9:12] == ["50%", "80%", "125%"]
    found = one.as_json()
    assert (found["of_floor"], found["of_gunicorn"], found["of_enc_keys"]) == (0.5, 0.8, 1.25)
    assert found["gunicorn"]["requests_per_s"] == 250 and found["enc_keys"]["requests_per_s"] == 160
    rows = [line.strip("│").split("│") for line in shown(beside_table(the_run(one))).splitlines() if line[0] == "│"]
    names = [[cell.strip() for cell in row[:2]] for row in rows]
    assert names == [["the KME's server", "curl"], ["gunicorn as it comes", "curl"], ["enc_keys, n = 1", "curl"]]
    assert "gunicorn" not in measured().as_json() and "enc_keys" not in measured().as_json()


def test_refused_requests_are_no_throughput():
    one = measured(number=128, errors={"429": 60})
    assert (one.load.per_s, one.keys_per_s, one.share_of(one.floor)) == (80.0, 80.0 * 128, 0.2)
    found = one.as_json()
    assert (found["requests"], found["answered"], found["requests_per_s"]) == (100, 40, 80.0)
    assert "│ 80 │" in " ".join(shown(cells_table(the_run(one))).split())
    assert "60 × 429" in shown(cells_table(the_run(one)))


def test_where_nothing_is_answered_there_is_no_rate_no_latency_and_no_share():
    text = shown(cells_table(the_run(measured(errors={"503": 100}, floor_answered=0))))
    assert row_of(text)[4:10] == ["0", "0", "–", "–", "–", "–"]


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
    assert str(done.exception) == str(error) or isinstance(done.exception, click.Abort)
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


@pytest.mark.parametrize("of", ["floor", "gunicorn", "enc_keys"])
def test_an_error_of_what_is_compared_counts_too(of):
    good, bad = measured(gunicorn=beside(9), enc_keys=beside(9)), beside(9, errors=1)
    assert the_run(replace(good, **{of: bad})).had_errors and not the_run(good).had_errors


def test_each_floor_is_shown_once_and_the_scripts_with_their_keys():
    run = the_run(measured(), measured(number=128), measured(clients=1))
    assert shown(beside_table(run)).count("ab ") == 2
    assert "6,400" in shown(scripts_table(run))


def test_rates_of_small_and_large_pools_are_shown():
    found = [Sized(1000, measured().driven), Sized(1_000_000, measured(errors={"other length": 1}).driven)]
    text = shown(pool_sizes_table(found, "key files", 2))
    assert "1,000,000" in text and "1 × other length" in text and text.count("50.0") == 2


def test_the_sustained_rate_is_told_with_the_share_of_each_stage():
    stages, processors = {"transmission": 4.0, "sifting": 1.0}, {"qlink-a-b": 2.0, "kme-a": None}
    flow = Flow(6000, 10.0, 5, 2_000_000, stages, {"enc_keys": 0.5}, processors, {"enc_keys 503": 3})
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
    assert (
        "calls without keys: 3 × enc_keys 503" in lines and "  kme-a             not known: replaced meanwhile" in lines
    )
