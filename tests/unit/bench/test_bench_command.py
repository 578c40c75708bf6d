"""`qkd-lab bench` where it is asked for what can't be, and what it shows."""

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driven
from qkd_lab.bench.pool_sizes import Sized
from qkd_lab.bench.run import Measured, Run
from qkd_lab.bench.scripts_alone import ScriptAlone
from qkd_lab.bench.sustained import Flow
from qkd_lab.bench.table import cells_table, floor_table, pool_sizes_table, scripts_table
from qkd_lab.cli.bench import bench
from qkd_lab.lab_folder import LabError


def measured(method="enc_keys", number=1, clients=8, errors=None, cpu_s=0.2):
    cell = Cell(method, number, "keep-alive", clients, 100)
    load = Load(100, 0.5, tuple(range(1, 101)), errors or {}, 0.01)
    return Measured(cell, Load(100, 0.25, (1.0,), {}, 0.01), Driven(load, cpu_s, cpu_s))


def the_run(*cells):
    return Run("key files", 1, {}, list(cells), [ScriptAlone("take_keys", 128, 16, 100, 2.0)])


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
    text = shown(cells_table(the_run(measured(number=128, errors={"503": 2}))))
    (row,) = [line for line in text.splitlines() if "enc_keys" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        *("enc_keys", "128", "keep-alive", "8", "200", "25,600", "50.0", "95.0", "99.0", "50%", "2.00", "2.00", "0.10"),
        "2 503",
    ]


def test_processes_that_are_not_on_this_machine_have_no_figure():
    run = the_run(measured(cpu_s=None))
    assert "–" in shown(cells_table(run)) and run.as_json()["cells"][0]["kme_cpu_ms"] is None


def test_each_floor_is_shown_once_and_the_scripts_with_their_keys():
    run = the_run(measured(), measured(number=128), measured(clients=1))
    assert shown(floor_table(run)).count("ab ") == 2
    assert "6,400" in shown(scripts_table(run))


def test_rates_of_small_and_large_pools_are_shown():
    found = [Sized(1000, measured().driven), Sized(1_000_000, measured(errors={"exception": 1}).driven)]
    text = shown(pool_sizes_table(found, "key files"))
    assert "1,000,000" in text and "1 exception" in text and text.count("50.0") == 2


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
