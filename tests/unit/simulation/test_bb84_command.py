"""`qkd-lab bb84` as a person or a script types it."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from qkd_lab.cli.bb84 import SETTINGS, Number, bb84

REQUIRED = {
    "pulses", "detected_pulses", "sifted_bits", "sample_bits", "qber", "qber_interval", "qber_test", "qber_key",
    "phase_error_bound", "disclosed_bits", "leak_alice", "leak_both", "reconciliation_efficiency",
    "reconciliation_messages", "secret_bits", "secret_bits_per_pulse", "aborted", "abort_reason", "seed", "parameters",
    "elapsed_s", "stages",
}  # fmt: skip


def typed(*arguments):
    return CliRunner().invoke(bb84, arguments)


def report_of(*arguments):
    done = typed(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_json_report_has_every_figure_and_no_key():
    report = report_of("--pulses", "1e5", "--depolarizing", "0.02", "--seed", "1")
    assert set(report) >= REQUIRED
    assert report["pulses"] == 100_000 and not report["aborted"] and report["secret_bits"] > 0
    assert report["parameters"]["depolarizing"] == 0.02
    texts = [value for value in _values(report) if isinstance(value, str)]
    assert not any(re.fullmatch(r"[01]{16,}|[0-9a-f]{40,}|[A-Za-z0-9+/]{40,}=*", text) for text in texts)


def _values(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _values(item)
    else:
        yield value


def test_a_person_gets_text_with_the_ground_truth_apart():
    done = typed("--pulses", "1e5", "--eve", "intercept-resend:0.05", "--seed", "1")
    assert done.exit_code == 0
    before, after = done.stdout.split("Ground truth, which neither end can see")
    assert "secret bits" in before and "Eve knew" in after and "Eve knew" not in before


def test_an_abort_is_a_result_and_says_why():
    report = report_of("--pulses", "2e4", "--eve", "intercept-resend:1", "--seed", "5")
    assert report["aborted"] and "over the tolerance" in report["abort_reason"] and report["secret_bits"] == 0
    assert typed("--pulses", "2e4", "--eve", "intercept-resend:1", "--seed", "5").stdout.startswith("No key: QBER 0.2")


def test_a_qber_of_nothing_is_null():
    report = report_of("--pulses", "1e4", "--loss-db", "300")
    assert report["qber"] is None and report["aborted"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--pulses 10", "pulses is 10: too few for one bit of key"),
        ("--pulses x", "pulses is 'x': expected an integer"),
        ("--pulses 1.5", "pulses is '1.5': expected an integer"),
        ("--pulses inf", "pulses is 'inf': expected an integer"),
        ("--distance-km -5", "distance_km is -5.0: expected a length in km from 0"),
        ("--depolarizing 1.5", "depolarizing is 1.5: expected a probability from 0 to 1"),
        ("--depolarizing nan", "depolarizing is nan"),
        ("--tolerance 0.6", "tolerance must lie between 0 and 0.5"),
        ("--signal-intensity 0", "signal_intensity is 0: expected a mean photon number above 0"),
        ("--source weak-coherent --signal-probability 0.5", "add up to 0.8: expected 1"),
        ("--source laser", "source is 'laser': expected single-photon or weak-coherent"),
        ("--eve mallory", "expected none or intercept-resend:FRACTION"),
        ("--noise fog:1", "no noise is called 'fog'"),
        ("--noise-file README.md", "noise file README.md"),
        ("--set nowhere", "expected gys, ideal, lab"),
        ("--mode exact", "mode exact takes up to 100000"),
        ("--reconciliation magic", "reconciliation must be one of original, efficient"),
        ("--export-qasm 0", "export_qasm is 0: expected from 1 to 10000"),
        ("--seed -1", "seed is -1"),
        ("--bench --pulses 0", "pulses is 0"),
    ],
)
def test_impossible_input_is_one_line_that_names_it(arguments, words):
    done = typed(*arguments.split())
    assert done.exit_code == 2 and done.stdout == ""
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


NUMERIC = [name for name, kind, _ in SETTINGS if isinstance(kind, Number)]


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf", "1e400", "1e300", "many"])
@pytest.mark.parametrize("option", ["--pulses", "--seed", "--export-qasm", *NUMERIC])
def test_a_number_that_no_option_takes_is_one_line_that_names_it(option, value):
    done = typed(*([] if option == "--pulses" else ["--pulses", "500"]), option, value)
    assert done.exit_code == 2 and done.stdout == "" and "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert option[2:].replace("-", "_") in line and ("expected" in line or "must" in line)
    assert len(line) < 250, "no digits by the hundred"


def test_options_of_intensities_are_refused_for_what_they_are_together():
    for arguments, words in [
        ("--signal-intensity 0.1 --decoy-intensity 0.2", "decoy_intensity 0.2, vacuum_intensity 0.0: expected each"),
        ("--source weak-coherent --signal-probability 0.6 --decoy-probability 0.6", "add up to 1.3: expected 1"),
        ("--source weak-coherent --vacuum-probability -0.1", "vacuum_probability is -0.1: expected a probability"),
        ("--tolerance 0.5", "tolerance must lie between 0 and 0.5 (both excluded), not 0.5"),
    ]:
        done = typed("--pulses", "500", *arguments.split())
        assert done.exit_code == 2 and done.stdout == "" and words in done.stderr, done.stderr


def test_circuits_are_written_as_openqasm_3():
    done = typed("--export-qasm", "40", "--eve", "intercept-resend:1", "--depolarizing", "0.1", "--seed", "3")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and lines[:2] == ["OPENQASM 3.0;", 'include "stdgates.inc";']
    assert sum(line.startswith("bob[") for line in lines) == sum(line.startswith("eve[") for line in lines) == 40
    assert sum(line.startswith("// noise on q[") and "depolarizing:0.1" in line for line in lines) == 40
    statement = r"(x|ry\(-?[0-9.]+\)) q\[\d+\];|(eve|bob)\[\d+\] = measure q\[\d+\];|(qubit|bit)\[40\] \w+;|//.*"
    assert all(re.fullmatch(statement, line) for line in lines[2:])


def test_the_command_itself_loads_no_qiskit():
    program = "import sys, qkd_lab.cli; sys.exit('qiskit' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_whole_program_ends_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "qkd_lab.cli", "bb84", "--pulses", "-1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "qkd-lab bb84: pulses is -1: expected an integer from 1 to 1073741824\n"
