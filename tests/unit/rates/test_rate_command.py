import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qkd_lab.cli import main
from qkde.parameter_sets import load
from qkde.rates.predicted import MODELS

CHECKOUT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


@pytest.fixture
def qkd_lab(monkeypatch, capsys):
    """Runs `qkd-lab rate` in this process: exit code, output, complaints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qkd-lab", "rate", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def rows_of(qkd_lab):
    def run(*arguments):
        code, output, complaints = qkd_lab(*arguments)
        assert code == 0, complaints
        return list(csv.DictReader(io.StringIO(output)))

    return run


@pytest.fixture
def document_of(qkd_lab):
    def run(*arguments):
        code, output, complaints = qkd_lab(*arguments, "--json")
        assert code == 0, complaints
        return json.loads(output)

    return run


def test_a_curve_has_a_row_for_each_distance_its_end_included(rows_of):
    rows = rows_of("--model", "decoy", "--set", "gys", "--distance-km", "0:150:50")
    assert [float(row["distance_km"]) for row in rows] == [0, 50, 100, 150]
    assert float(rows[1]["secret_bits_per_pulse"]) == pytest.approx(2.226e-4, abs=5e-8)
    assert float(rows[3]["secret_bits_per_pulse"]) == 0


def test_json_has_the_rows_and_the_parameters_they_come_from(document_of):
    found = document_of("--model", "vacuum-weak", "--distance-km", "50", "--mu", "0.4")
    assert (found["model"], found["set"], found["parameters"]["signal_intensity"]) == ("vacuum-weak", "gys", 0.4)
    (row,) = found["rows"]
    assert set(row) >= {"distance_km", "secret_bits_per_pulse", "qber", "gain"}
    assert row["secret_bits_per_second"] == pytest.approx(row["secret_bits_per_pulse"] * 2e6)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_answers_with_the_same_first_columns(document_of, model):
    (row,) = document_of("--model", model, "--set", "lab")["rows"]
    assert list(row)[:5] == ["distance_km", "qber", "gain", "secret_bits_per_pulse", "secret_bits_per_second"]
    assert row["distance_km"] == load("lab").distance_km


def test_a_qber_stands_in_place_of_a_distance(rows_of):
    rows = rows_of("--model", "ideal", "--set", "ideal", "--qber", "0.01:0.11:0.02")
    assert [float(row["qber"]) for row in rows] == [0.01, 0.03, 0.05, 0.07, 0.09, 0.11]
    assert rows[0]["distance_km"] == "" and 0 < float(rows[-1]["secret_bits_per_pulse"]) < 1e-4


def test_block_sizes_make_a_curve_each(rows_of):
    rows = rows_of("--model", "finite", "--set", "lab", "--qber", "0.01,0.02", "--block-size", "1e4,1e6")
    assert [(float(row["block_size_bits"]), float(row["qber"])) for row in rows] == [
        (1e4, 0.01), (1e4, 0.02), (1e6, 0.01), (1e6, 0.02),
    ]  # fmt: skip
    assert float(rows[2]["secret_bits_per_pulse"]) > float(rows[0]["secret_bits_per_pulse"])


def test_optimised_points_give_more_and_say_with_what(document_of):
    arguments = ("--model", "finite-one-decoy", "--set", "lab", "--distance-km", "0,40")
    fixed, best = document_of(*arguments)["rows"], document_of(*arguments, "--optimize")["rows"]
    for plain, chosen in zip(fixed, best, strict=True):
        assert chosen["secret_bits_per_pulse"] > plain["secret_bits_per_pulse"] > 0
        assert 0 < chosen["decoy_intensity"] < chosen["signal_intensity"]


def test_a_link_without_clicks_has_a_null_qber(document_of):
    arguments = ("--set", "ideal", "--attenuation-db-per-km", "100", "--distance-km", "1000")
    (row,) = document_of("--model", "ideal", *arguments)["rows"]
    assert row["qber"] is None and row["secret_bits_per_pulse"] == 0


def test_one_probability_too_few_follows_from_the_others(document_of):
    parameters = document_of("--signal-probability", "0.5", "--decoy-probability", "0.25")["parameters"]
    assert parameters["vacuum_probability"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--mu", "0"], "signal_intensity is 0.0: expected a mean photon number above 0"),
        (["--distance-km", "-5"], "distance_km is -5.0: expected a length in km from 0"),
        (["--set", "gis"], "no parameter set 'gis': expected gys, ideal, lab"),
        (["--model", "ideal", "--qber", "0.6"], "qber is 0.6: expected from 0 to 0.5"),
        (["--qber", "0.1"], "qber is for ideal and finite only"),
        (["--misalignment", "0.7"], "misalignment is 0.7: expected a probability from 0 to 0.5"),
        (["--signal-probability", "0.9"], "add up to 1.1: expected 1"),
        (["--model", "finite", "--block-size", "0"], "block_size_bits is 0: expected from 1"),
        (["--model", "finite", "--epsilon-secrecy", "2"], "epsilon_secrecy is 2: expected above"),
    ],
)
def test_an_impossible_value_is_one_line_with_its_range(qkd_lab, arguments, expected):
    code, output, complaints = qkd_lab(*arguments)
    assert code == 1 and output == ""
    assert len(complaints.splitlines()) == 1 and expected in complaints


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--distance-km", "far"], "expected a number, a list such as 0,50,100 or a range such as 0:150:5"),
        (["--distance-km", "0:10"], "expected START:END:STEP"),
        (["--distance-km", "0:10:0"], "STEP above 0"),
        (["--distance-km", "10:0:1"], "END not below START"),
        (["--distance-km", "0:1e9:1"], "expected a larger step"),
        (["--distance-km", "nan"], "expected finite numbers"),
        (["--model", "ideal", "--qber", "0.1", "--distance-km", "1"], "in place of --distance-km"),
        (["--block-size", "1e5"], "--block-size is for the models finite"),
        (["--model", "magic"], "is not one of"),
    ],
)
def test_wrong_usage_ends_with_2(qkd_lab, arguments, expected):
    code, output, complaints = qkd_lab(*arguments)
    assert code == 2 and output == ""
    assert expected in complaints and "Traceback" not in complaints


def test_the_formulas_run_where_there_is_no_numerical_library():
    """The image of the command line has none."""
    without = "import sys; sys.modules |= dict.fromkeys(['numpy', 'scipy', 'qiskit'])"
    start = f"{without}; from qkd_lab.cli import main; main()"
    command = [sys.executable, "-c", start, "rate", "--model", "finite-two-decoy", "--set", "lab"]
    assert subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT).returncode == 0
    done = subprocess.run([*command, "--optimize"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1 and "--optimize needs scipy" in done.stderr
