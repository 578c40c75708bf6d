"""What the bench asks of `ab` and `curl`, and how they end."""

import json
import shutil
import stat
import subprocess

import pytest

from qkd_lab.bench import generators
from qkd_lab.lab_folder import LabError
from qkd_lab.testing.handles import Kme, Sae


@pytest.fixture
def sae(tmp_path):
    for part in ("cert", "key", "ca"):
        (tmp_path / f"{part}.pem").write_text(f"the {part}\n")
    return Sae("x", Kme("kme-a", "https://127.0.0.1:1"), *(str(tmp_path / f"{p}.pem") for p in ("cert", "key", "ca")))


@pytest.fixture
def started(monkeypatch):
    """The programs that were started, with their standard input, instead of starting them."""
    calls = []

    def run(command, input=None, **_):
        calls.append((command, input))
        failed = subprocess.CompletedProcess(command, 1, "", "SSL handshake failed (5).\napr_socket_recv: refused\n")
        return failed if "ab" in command else subprocess.CompletedProcess(command, 0, "200 0 0.01\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda program: program)
    return calls


def test_the_lines_of_curl_give_latencies_and_errors_by_status():
    report = "200 0 0.010\n503 0 0.020\n000 7 0.001\n200 0 0.030\n"
    load = generators.read_curl(report, expected_count=5, elapsed_s=2.0, cpu_s=0.1)
    assert (load.request_count, load.answered_count, load.per_s) == (4, 2, 1.0)
    assert load.latencies_ms == (10.0, 30.0)  # of the refusals none
    assert load.errors == {"503": 1, "curl 7": 1, "not made": 1}


def test_curl_gets_one_request_for_each_body_on_its_standard_input(sae, started):
    bodies = [generators.dec_keys_body([f"id-{at}"]) for at in range(3)]
    generators.curl("https://kme/", sae, bodies, clients=8, keep_alive=True)
    ((command, config),) = started
    assert command[command.index("--parallel-max") + 1] == "8" and command[command.index("--config") + 1] == "-"
    sections = config.split("next\n")
    sent = [next(line for line in section.splitlines() if line.startswith("data")) for section in sections]
    assert [json.loads(line.partition(" = ")[2]).encode() for line in sent] == bodies
    assert all(f'key = "{sae.key}"' in section and f'cacert = "{sae.ca}"' in section for section in sections)
    assert "Connection: close" not in config


def test_without_keep_alive_curl_makes_a_connection_and_a_whole_handshake_for_each_request(sae, started):
    generators.curl("https://kme/", sae, [b"{}", b"{}"], clients=1, keep_alive=False)
    ((_, config),) = started
    assert config.count("Connection: close") == config.count("no-sessionid") == 2


def test_ab_finds_certificate_and_key_in_a_file_that_is_private(sae, started, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    with pytest.raises(LabError):
        generators.ab("https://kme/", sae, folder, clients=2, request_count=9, keep_alive=True, body=b"{}")
    ((command, _),) = started
    pem = folder / "client.pem"
    assert command[command.index("-E") + 1] == str(pem) and pem.read_text() == "the cert\nthe key\n"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert "-k" in command and (folder / "body").read_bytes() == b"{}"


def test_why_ab_gave_up_is_one_line(sae, started, tmp_path):
    with pytest.raises(LabError) as error:
        generators.ab("https://kme/", sae, tmp_path, clients=1, request_count=1, keep_alive=False)
    assert str(error.value) == "ab gave up at https://kme/ (exit status 1): apr_socket_recv: refused"


@pytest.fixture
def ending(monkeypatch):
    """Gives what runs a program that ends with an exit status, and what it prints, in place of any."""
    monkeypatch.setattr(shutil, "which", lambda program: program)

    def ends(exit_status, printed="", complained=""):
        done = subprocess.CompletedProcess
        monkeypatch.setattr(subprocess, "run", lambda command, **_: done(command, exit_status, printed, complained))

    return ends


@pytest.mark.parametrize(
    "exit_status, printed, words",
    [
        (-9, "", "(killed by signal 9): out of memory"),
        (-9, "200 0 0.01\n200", "(killed by signal 9): out of memory"),
        (2, "", "(exit status 2): out of memory"),
    ],
)
def test_a_curl_that_was_killed_or_made_nothing_has_no_rate(sae, ending, exit_status, printed, words):
    ending(exit_status, printed, "curl: a warning\nout of memory\n")
    with pytest.raises(LabError) as error:
        generators.curl("https://kme/", sae, [b"{}"] * 50, clients=1, keep_alive=True)
    assert str(error.value) == f"curl gave up at https://kme/ {words}"


def test_a_curl_of_which_some_requests_failed_has_those_that_did_not(sae, ending):
    ending(7, "200 0 0.010\n000 7 0.001\n")
    load = generators.curl("https://kme/", sae, [b"{}"] * 3, clients=1, keep_alive=True)
    assert load.answered_count == 1 and load.errors == {"curl 7": 1, "not made": 1}


def test_an_ab_that_writes_no_percentiles_is_named_and_those_of_an_earlier_one_are_not_taken(sae, ending, tmp_path):
    ending(0, "Time taken for tests: 1.0 seconds\n")
    (tmp_path / "centiles.csv").write_text("Percentage served,Time in ms\n0,1.0\n")
    with pytest.raises(LabError, match="ab wrote no file of percentiles.*expected ApacheBench 2.3"):
        generators.ab("https://kme/", sae, tmp_path, clients=1, request_count=1, keep_alive=False)


@pytest.mark.parametrize("exit_status, printed", [(0, ""), (0, "\n"), (1, "not a version\n")])
def test_a_generator_that_does_not_say_its_version_is_named(ending, exit_status, printed):
    ending(exit_status, printed)
    with pytest.raises(LabError, match="ab -V .*expected the version.* package apache2-utils"):
        generators.versions()


def test_a_generator_that_cant_be_run_is_named(tmp_path, monkeypatch):
    program = tmp_path / "ab"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o700)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    with pytest.raises(LabError, match="ab can't be run: .*, expected the one of apache2-utils"):
        generators.versions()


@pytest.mark.parametrize("program, package", [("ab", "apache2-utils"), ("curl", "curl")])
def test_a_generator_that_is_missing_is_named_with_its_package(monkeypatch, program, package):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match=f"{program} is not installed.* package {package} "):
        generators.find(program)
