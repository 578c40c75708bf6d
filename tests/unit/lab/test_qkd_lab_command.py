"""The `qkd-lab` command where nothing runs: what it says, and how it ends."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qkd_lab.addresses import compose, embedded, endpoints, published
from qkd_lab.cli import network
from qkd_lab.cli.link import _print as print_link
from qkd_lab.embedded.memory import proportional_bytes
from qkd_lab.embedded.takeover import known_addresses
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, TopologyError, load

CHECKOUT = Path(__file__).resolve().parents[3]
TWO_SITES = SHIPPED / "two-sites.toml"


def qkd_lab(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, "-m", "qkd_lab.cli", *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )


@pytest.fixture
def prepared(tmp_path):
    """A folder with a lab that is not running; port 1 is nobody's."""
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    topology = lab.keep_topology(TWO_SITES)
    book = embedded(topology, lambda wanted, known: 1)
    lab.prepare(topology, book, endpoints(topology, book))
    return tmp_path


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["status"], ["no lab in", "qkd-lab up", "docker compose up"]),
        (["down"], ["no lab is running", "change to its folder"]),
        (["demo"], ["no lab in", "qkd-lab up"]),
        (["link", "show"], ["no lab in"]),
        (["register", "--master", "sae-a", "--slave", "sae-b"], ["no lab in"]),
        (["pki", "list"], ["no certificates", "qkd-lab pki init"]),
        (["up", "--topology", "none.toml"], ["none.toml", "no such topology file", "two-sites"]),
    ],
)
def test_without_a_lab_one_line_says_what_to_do(tmp_path, arguments, words):
    done = qkd_lab(tmp_path, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["register", "--master", "sae-a"],
        ["register", "sae", "x"],
        ["register", "--master", "sae-a", "--slave", "sae-b", "--max-sae-ids", "33"],
        ["register", "--master", "sae-a", "--slave", "sae-b", "--qos", "Color=1"],
        ["register", "--master", "sae-a", "--slave", "sae-b", "--qos", "TTL=-1"],
        ["register", "--master", "sae-a", "--slave", "sae-b", "--qos", "TTL"],
        ["register", "--master", "sae-a", "--slave", "sae-b", "--qos", "TTL=1", "--qos", "TTL=2"],
        ["link", "set", "a-b"],
        ["status", "extra"],
    ],
)
def test_wrong_usage_ends_with_2(tmp_path, arguments):
    done = qkd_lab(tmp_path, *arguments)
    assert done.returncode == 2 and "Usage" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["link", "show", "a-b"], ["qlink qlink-a-b", "connection refused", "qkd-lab status"]),
        (["link", "show", "z"], ["no link 'z'", "a-b"]),
        (["link", "set", "z", "--eve", "none"], ["no link 'z'"]),
        (["register", "sae", "x", "--site", "z"], ["no site 'z'", "a, b"]),
        (["register", "--master", "ghost", "--slave", "sae-b"], ["ghost", "register sae"]),
        (["pki", "show", "ghost"], ["ghost", "pki list"]),
        (["up", "--topology", "three-sites"], ["another topology", "another folder"]),
    ],
)
def test_where_nothing_answers_the_cause_is_told_in_one_line(prepared, arguments, words):
    done = qkd_lab(prepared, *arguments)
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_the_status_of_a_lab_that_does_not_run_is_told_and_ends_with_1(prepared):
    done = qkd_lab(prepared, "status", "--json")
    assert done.returncode == 1
    health = {name: process["health"] for name, process in json.loads(done.stdout)["processes"].items()}
    assert "connection refused" in health["kme-a"] and "connection refused" in health["sae-b"]


def test_certificates_are_made_listed_and_shown(tmp_path):
    assert "kme-a-scheduler" in qkd_lab(tmp_path, "pki", "init").stdout
    assert "nothing to do" in qkd_lab(tmp_path, "pki", "init").stdout
    assert qkd_lab(tmp_path, "pki", "issue", "sae", "vpn/1", "--site", "b").stdout == ".lab/pki/vpn%2F1\n"
    listed = qkd_lab(tmp_path, "pki", "list").stdout
    assert "vpn/1\turn:qkd:sae:vpn%2F1\tsae-b\texpires" in listed
    shown = qkd_lab(tmp_path, "pki", "show", "kme-a").stdout
    assert "urn:qkd:kme:kme-a" in shown and "localhost" in shown


def test_the_doctor_finds_a_certificate_that_ends_soon_and_a_key_others_can_read(tmp_path):
    lab = LabFolder(tmp_path / ".lab")
    Pki(lab.pki, datetime.now(UTC) - timedelta(days=370)).make(load(TWO_SITES))
    (lab.pki / "sae-a" / "key.pem").chmod(0o644)
    done = qkd_lab(tmp_path, "doctor")
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert done.returncode == 1 and len(bad) == 2
    assert "kme-a" in bad[0] and "pki init" in bad[0]
    assert "sae-a/key.pem" in bad[1] and "chmod 600" in bad[1]


def test_a_folder_keeps_the_topology_it_began_with(prepared, tmp_path):
    lab = LabFolder(prepared / ".lab")
    assert lab.keep_topology(lab.topology).name == "two-sites"
    with pytest.raises(TopologyError, match="another folder"):
        lab.keep_topology(SHIPPED / "three-sites.toml")


def test_a_lab_in_containers_is_told_from_one_on_this_host(prepared):
    lab = LabFolder(prepared / ".lab")
    assert not lab.in_containers
    topology = load(TWO_SITES)
    lab.prepare(topology, compose(topology), {})
    assert lab.in_containers
    done = qkd_lab(prepared, "down")
    assert done.returncode == 1 and "docker compose down" in done.stderr


@pytest.fixture
def in_containers(prepared):
    """A folder whose lab is that of docker-compose.yml."""
    lab, topology = LabFolder(prepared / ".lab"), load(TWO_SITES)
    lab.prepare(topology, compose(topology), endpoints(topology, published(topology)))
    return lab, topology


def pre_shared_keys(lab):
    return [path.read_text() for path in sorted((lab.path / "secrets").rglob("pre-shared-key.*"))]


def test_a_lab_that_answers_in_containers_is_not_started_here(in_containers, monkeypatch):
    lab, topology = in_containers
    monkeypatch.setattr(Operator, "health", lambda self, process: "ok" if process == "qkde-b" else "silent")
    with pytest.raises(LabError, match="docker compose down"):
        known_addresses(lab, topology)


def test_a_folder_whose_containers_are_down_can_be_used_here_with_pads_of_its_own(in_containers, monkeypatch):
    lab, topology = in_containers
    monkeypatch.setattr(Operator, "health", lambda self, process: "nothing listens there")
    before = pre_shared_keys(lab)
    assert known_addresses(lab, topology) == {}
    after = pre_shared_keys(lab)
    assert len(set(after)) == 1 and len(after) == 2 and set(after) != set(before)
    (lab.process_state("qkde-a") / "pads").mkdir(parents=True)  # what this host's own QKDE has used
    known_addresses(lab, topology)
    assert pre_shared_keys(lab) == after


def test_a_links_speed_is_said_to_be_that_of_aer_alone(capsys, monkeypatch):
    physics = {"link": "a-b", "loss_db": 1, "depolarizing": 0, "eve": "none", "pulses_per_second": 2e6}
    monkeypatch.setenv("COLUMNS", "120")
    network._show({"processes": {}, "endpoints": {}, "pools": [], "links": {"a-b": physics}, "reports": []})
    assert "pulses/s, Aer alone" in capsys.readouterr().out
    print_link(physics)
    assert "2,000,000 pulses/s by Aer alone" in capsys.readouterr().out


def test_memory_is_summed_over_a_process_and_all_below_it(tmp_path):
    def process(pid, name, parent, pss_kb):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
        (folder / "smaps_rollup").write_text(f"00-ff ---p [rollup]\nRss: 999999 kB\nPss: {pss_kb} kB\nPss_Anon: 7 kB\n")

    process(10, "supervisor", 1, 100)
    process(11, "a b) (c", 10, 20)
    process(12, "worker", 11, 3)
    process(13, "stranger", 1, 5000)
    assert proportional_bytes([10], proc=tmp_path) == 123 * 1024


def test_a_new_owner_of_the_folder_does_not_get_the_servers_data(prepared, monkeypatch):
    given = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, follow_symlinks: given.append(Path(path)))
    lab = LabFolder(prepared / ".lab")
    (lab.path / "data" / "postgres-a").mkdir(parents=True)
    lab.give_to(1000, 1000)
    assert lab.path in given and lab.topology in given
    assert not [path for path in given if "data" in path.parts[len(lab.path.parts) :]]
