"""`qkd-lab verify-block`: a file, the standard input, or a block of the running lab."""

import copy
import json
from importlib import import_module
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from qkd_lab.cli.bb84 import bb84
from qkd_lab.lab_folder import LabError

command = import_module("qkd_lab.cli.verify_block")  # the package has the command itself by this name


@pytest.fixture(scope="module")
def printed():
    """What `qkd-lab bb84 --json` prints of a small round with decoys."""
    settings = (
        "--pulses 6e5 --signal-intensity 0.6 --decoy-intensity 0.2 --signal-probability 0.5 --decoy-probability 0.4 "
        "--vacuum-probability 0.1 --key-basis-probability 0.7 --epsilon-secrecy 1e-4 --epsilon-correctness 1e-9 "
        "--verification-bits 61 --seed 5 --json"
    )
    done = CliRunner().invoke(bb84, settings.split())
    assert done.exit_code == 0 and not json.loads(done.stdout)["aborted"], done.output
    return done.stdout


@pytest.fixture
def report(printed):
    return json.loads(printed)


def verify(what, **options):
    done = CliRunner().invoke(command.verify_block, [what], **options)
    if isinstance(done.exception, LabError):  # `qkd-lab` makes a line and exit 1 of it
        return SimpleNamespace(exit_code=1, stdout=done.stdout, stderr=f"{done.stderr}{done.exception}")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def written(tmp_path, value):
    path = tmp_path / "record.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def holds(done):
    assert done.exit_code == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return "secret bits follow from the record" in line and "two decoys, Lim et al. 2014" in line


def test_the_whole_output_of_bb84_and_the_bare_record_are_taken(printed, report, tmp_path):
    assert holds(verify(written(tmp_path, printed)))
    assert holds(verify(written(tmp_path, report["provenance"])))
    assert holds(verify("-", input=printed))


@pytest.mark.parametrize("member", ["leakage.parities", "counts.pulses", "lengths.secret_bits", "digests.record"])
def test_what_differs_is_named_and_the_exit_is_1(report, tmp_path, member):
    table, name = member.split(".")
    value = report["provenance"][table][name]
    report["provenance"][table][name] = value + 8 if isinstance(value, int) else value[:-1] + "-"
    done = verify(written(tmp_path, report))
    assert done.exit_code == 1 and done.stdout == ""
    assert f"the record: {member}: the record has" in done.stderr or "digests.record" in done.stderr
    assert "does not hold" in done.stderr


@pytest.mark.parametrize("member", ["secret_bits", "block_bits", "pulses", "block_id", "leak_alice"])
def test_a_report_that_says_other_than_its_record_does_not_hold(report, tmp_path, member):
    report[member] = report[member] + 8 if isinstance(report[member], int) else "another"
    done = verify(written(tmp_path, report))
    assert done.exit_code == 1 and f"the report's {member}" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "expected a JSON object"),
        ("{}", "neither a provenance record"),
        ('{"schema": "qkd-lab-provenance/1"}', "not a provenance record: authentication: missing"),
        ('{"provenance": {}}', "not a provenance record: authentication: missing"),
        ('{"provenance": 3}', "not a provenance record: a provenance record: expected an object"),
        ('{"provenance": null, "abort_reason": "QBER"}', "the round made no key, so there is nothing to verify: QBER"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_record_is_said_in_words(tmp_path, content, words):
    done = verify(written(tmp_path, content))
    assert done.exit_code == 1 and words in done.stderr


def test_a_word_that_is_no_file_and_no_id_is_said_to_be_neither():
    assert "no such file, and not a block's id" in verify("nowhere.json").stderr


class Lab:
    """Stands for the running lab: which process has which reports."""

    def __init__(self, **reports):
        self.reports = {name.replace("_", "-"): found for name, found in reports.items()}
        self.processes = [SimpleNamespace(name=name, kind=name.split("-")[0]) for name in self.reports]

    def call(self, process, method, path):
        where, _, wanted = path.partition("?block_id=")
        assert (method, where) == ("GET", "/v1/reports")
        return [report for report in self.reports[process] if not wanted or report["block_id"] == wanted]


@pytest.fixture
def running(monkeypatch):
    def start(**reports):
        monkeypatch.setattr(command, "LabFolder", SimpleNamespace(here=lambda: None))
        monkeypatch.setattr(command, "Operator", lambda lab: Lab(**reports))

    return start


def ends(report):
    return copy.deepcopy({**report, "end": "bob"}), copy.deepcopy({**report, "end": "alice"})


def test_a_block_of_the_lab_is_verified_at_both_its_ends(running, report):
    bob, alice = ends(report)
    running(kme_a=[bob], kme_b=[], qkde_a=[alice], qkde_b=[bob])
    done = verify(report["block_id"])
    assert holds(done) and "at both ends" in done.stdout and done.stderr == ""


def test_two_ends_that_tell_different_stories_do_not_hold(running, report):
    bob, alice = ends(report)
    alice["provenance"]["digests"]["transcript"] = "sha256:00"
    from qkde.bb84.provenance import record_digest

    alice["provenance"]["digests"]["record"] = record_digest(alice["provenance"])
    running(kme_a=[bob], qkde_a=[alice])
    done = verify(report["block_id"])
    assert done.exit_code == 1 and "digests.transcript: 'sha256:" in done.stderr


def test_where_one_end_has_forgotten_the_round_it_is_said(running, report):
    bob, _ = ends(report)
    running(kme_a=[bob], qkde_a=[], qkde_b=[])
    done = verify(report["block_id"])
    assert holds(done) and "only kme-a still has its report" in done.stderr


def test_a_block_nobody_knows_is_said_to_be_unknown(running):
    running(kme_a=[], qkde_a=[])
    assert "no KME or QKDE of this lab has a report" in verify("00000000-0000-0000-0000-000000000001").stderr
