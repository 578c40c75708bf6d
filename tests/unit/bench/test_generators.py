"""What `ab` and `curl` say, as the bench reads it, and what it asks of them."""

import json
import shutil
import stat
import subprocess

import pytest

from qkd_lab.bench import generators
from qkd_lab.lab_folder import LabError
from qkd_lab.testing.handles import Kme, Sae

# Printed by ApacheBench 2.3 of Debian 12.
REPORT = """Concurrency Level:      4
Time taken for tests:   0.500 seconds
Complete requests:      60
Failed requests:        12
   (Connect: 3, Receive: 2, Length: 6, Exceptions: 1)
Non-2xx responses:      4
Keep-Alive requests:    60
Requests per second:    120.00 [#/sec] (mean)
"""
CENTILES = "Percentage served,Time in ms\n" + "".join(f"{at},{at + 1}.5\n" for at in range(101))


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
        return subprocess.CompletedProcess(command, 1, "", "SSL handshake failed (5).\napr_socket_recv: refused\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda program: program)
    return calls


def test_the_report_of_ab_gives_rate_latencies_and_errors_by_kind():
    load = generators.read_ab(REPORT, CENTILES, 0.25, keep_alive=True)
    assert (load.request_count, load.per_s, load.generator_cpu_s) == (60, 120.0, 0.25)
    assert load.percentile_ms(50) == pytest.approx(51.5, abs=1)
    # Of the six of another length four were no 2xx, which is said once.
    assert load.errors == {"not connected": 3, "not received": 2, "other length": 2, "exception": 1, "not 2xx": 4}


def test_connections_that_a_server_ends_although_they_were_to_be_kept_are_errors():
    report = "Time taken for tests:   1.0 seconds\nComplete requests:      60\nKeep-Alive requests:    50\n"
    assert generators.read_ab(report, CENTILES, 0.0, keep_alive=True).errors == {"not kept alive": 10}
    assert generators.read_ab(report, CENTILES, 0.0, keep_alive=False).errors == {}


def test_what_ab_reads_beyond_its_last_request_is_not_believed():
    rows = ["Percentage served,Time in ms", *(f"{at},2.0" for at in range(98)), "98,9e15", "99,1e9", "100,3.5"]
    assert generators.read_ab(REPORT, "\n".join(rows), 0.0, keep_alive=True).percentile_ms(99) == 3.5


def test_a_report_of_something_else_than_ab_is_refused():
    with pytest.raises(LabError, match="ApacheBench"):
        generators.read_ab("hello", CENTILES, 0.0, keep_alive=True)


def test_the_lines_of_curl_give_latencies_and_errors_by_status():
    report = "200 0 0.010\n503 0 0.020\n000 7 0.001\n200 0 0.030\n"
    load = generators.read_curl(report, expected_count=5, elapsed_s=2.0, cpu_s=0.1)
    assert (load.request_count, load.per_s) == (5, 2.5)
    assert load.percentile_ms(99) == 30.0
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
    assert str(error.value) == "ab gave up at https://kme/: apr_socket_recv: refused"


@pytest.mark.parametrize("program, package", [("ab", "apache2-utils"), ("curl", "curl")])
def test_a_generator_that_is_missing_is_named_with_its_package(monkeypatch, program, package):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LabError, match=f"{program} is not installed.* package {package} "):
        generators.find(program)
