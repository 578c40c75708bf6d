"""Each thing the doctor looks at, well and unwell; what is unwell has a hint."""

import contextlib
import json
import shutil
import socket
import sys
import time
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity
from qkd_lab import __version__
from qkd_lab.cli.doctor import doctor
from qkd_lab.cli.logs import logs
from qkd_lab.doctor import host, running
from qkd_lab.doctor.certificates import certificates
from qkd_lab.doctor.running import Answer
from qkd_lab.embedded.ports import Ports
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.holders import Holder
from qkd_lab.pki.store import Pki
from qkd_lab.processes import services
from qkd_lab.topology import SHIPPED, load

TWO_SITES = SHIPPED / "two-sites.toml"
NOW = datetime.now(UTC)


def bad(findings):
    """The text of those that are not good; each must have a hint."""
    found = [one for one in findings if not one.good]
    assert all(one.hint for one in found)
    return [one.text for one in found]


# ---- the host


def test_a_python_that_is_too_old_is_told(monkeypatch):
    assert bad(host.python()) == []
    Version = namedtuple("Version", "major minor micro")
    monkeypatch.setattr(sys, "version_info", Version(3, 10, 4))
    assert bad(host.python()) == ["Python 3.10.4"]


def test_a_database_program_that_is_not_there_is_told(monkeypatch):
    def nowhere(environ):
        raise LabError("no PostgreSQL was found")

    monkeypatch.setattr(host, "find_postgres", nowhere)
    assert bad(host.servers()) == ["no PostgreSQL was found"]


def test_a_disk_that_is_nearly_full_is_told(tmp_path, monkeypatch):
    lab = LabFolder(tmp_path / ".lab")
    assert bad(host.disk(lab)) == []
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, 3 << 20))
    assert bad(host.disk(lab)) == [f"3 MB free where {tmp_path} is"]


@pytest.mark.parametrize("has", ["bound by a program", "held by another lab"])
def test_ports_that_others_have_are_named_and_are_no_harm(monkeypatch, has):
    # Not the topology's own, which labs on this machine may have.
    with socket.socket() as other, contextlib.closing(Ports()) as another_lab:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        if has == "held by another lab":
            other.close()
            port = another_lab.take(port)
        monkeypatch.setattr(host, "host_port", lambda process, listener: port)
        (taken,) = host.ports(TWO_SITES)
    (free,) = host.ports(TWO_SITES)
    assert taken.good and f"taken by others: {port}" in taken.text
    assert free.good and free.text.endswith("all free")


# ---- certificates


@pytest.fixture
def lab(tmp_path):
    folder = LabFolder(tmp_path / ".lab")
    folder.make()
    Pki(folder.pki, NOW).make(folder.keep_topology(TWO_SITES))
    return folder


def test_certificates_as_they_were_made_are_well(lab):
    (finding,) = certificates(lab, NOW)
    assert finding.good and "the first expires" in finding.text


def test_a_certificate_that_ends_soon_and_a_key_others_can_read_are_told(lab):
    (lab.pki / "sae-a" / "key.pem").chmod(0o644)
    soon, loose = bad(certificates(lab, NOW + timedelta(days=380)))
    assert "kme-a" in soon and "expire soon" in soon
    assert "sae-a/key.pem can be read by others" in loose


def test_a_certificate_that_is_missing_or_garbled_is_told(lab):
    (lab.pki / "kme-a" / "cert.pem").write_text("no certificate")
    shutil.rmtree(lab.pki / "probe")
    assert bad(certificates(lab, NOW)) == [
        f"{lab.pki / 'kme-a'} has no certificate that can be read",
        f"{lab.pki / 'probe'} has no certificate that can be read",
    ]


def test_a_certificate_of_another_authority_is_told(lab, tmp_path):
    other = tmp_path / "other" / "pki"
    Pki(other, NOW).make(load(TWO_SITES))
    for name in ("cert.pem", "key.pem"):
        shutil.copy(other / "kme-a" / name, lab.pki / "kme-a" / name)
    assert bad(certificates(lab, NOW)) == ["the certificate of kme-a is not signed by the authority kme"]


def test_a_key_of_another_certificate_is_told(lab):
    shutil.copy(lab.pki / "kme-b" / "key.pem", lab.pki / "kme-a" / "key.pem")
    assert bad(certificates(lab, NOW)) == [f"{lab.pki / 'kme-a' / 'key.pem'} is not the key of its certificate"]


def test_a_certificate_that_names_somebody_else_or_lacks_a_host_is_told(lab):
    shutil.rmtree(lab.pki / "kme-a")
    stranger = Holder("kme-a", Identity("kme", "kme-x"), "kme", ("kme",), hosts=("localhost", "127.0.0.1"))
    Pki(lab.pki, NOW).make_for([stranger], {})
    somebody, hosts = bad(certificates(lab, NOW))
    assert "the certificate of kme-a is that of kme kme-x, expected kme kme-a" in somebody
    assert "lacks the names" in hosts and "kme-a.peer" in hosts and "localhost" not in hosts


# ---- a lab that runs


@dataclass
class FakeOperator:
    """Answers as a lab that is well, but for `silent` processes, changed `readiness`, and `status` of the KMEs."""

    lab: Any
    silent: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    clock: float = 1000.0

    @property
    def processes(self):
        return list(services(load(TWO_SITES)))

    def readiness(self, name):
        if name in self.silent:
            return {"ready": False, "why": [self.silent[name]]}
        well = {"ready": True, "why": [], "needs": {}, "time": self.clock, "process": name, "version": __version__}
        return well | self.said.get(name, {})

    def call(self, process, method, path):
        if process in self.silent:
            raise LabError(self.silent[process])
        return WELL | self.status if process == "kme-a" else WELL | {"pools": []}


POOL = {"master_sae_id": "sae-a", "slave_sae_id": "sae-b", "stored_key_count": 900, "low_watermark": 500}
ROUND = {"outcome": "key", "abort_reason": None, "pad_bits_left": 512}
WELL = {
    "kme_id": "kme-a",
    "pools": [POOL | {"high_watermark": 1000}],
    "links": [{"link": "a-b", "last_reports": [ROUND]}],
    "account": {"balanced": True},
    "witness": {"state": "well", "peers": {"kme-b": "confirmed"}},
}


@pytest.fixture
def operator(lab):
    return FakeOperator(lab)


def asked(operator):
    return running.ask(operator, lambda: 1000.0)


def all_of(operator):
    answers = asked(operator)
    yield from running.processes(operator, answers)
    yield from running.needs(operator, answers)
    yield from running.clocks(answers)
    yield from running.versions(answers)
    yield from running.keys(operator)


def test_a_lab_that_is_well_has_nothing_bad(operator):
    findings = list(all_of(operator))
    assert bad(findings) == []
    checks = {one.check for one in findings}
    assert checks == {"processes", "clocks", "versions", "pools", "links", "witness", "account"}


def test_a_process_that_does_not_answer_is_named(operator):
    operator.silent = {"qkde-b": "qkde qkde-b at 127.0.0.1:9201: connection refused"}
    (found,) = [one for one in all_of(operator) if not one.good]
    assert found.check == "processes" and found.text.startswith("qkde-b: ") and "qkd-lab logs qkde-b" in found.hint


def test_a_process_with_trouble_of_its_own_is_named(operator):
    operator.said = {"kme-a-scheduler": {"ready": False, "why": ["the revocation list has expired"]}}
    assert bad(all_of(operator)) == ["kme-a-scheduler: the revocation list has expired"]


def test_a_database_server_that_is_started_again_and_again_is_named(operator, lab):
    lab.state.write_text(json.dumps({"processes": {"redis-a": {"state": "dead", "pid": None, "restart_count": 3}}}))
    assert bad(all_of(operator)) == ["redis-a: dead"]


@pytest.mark.parametrize(
    ("what", "check", "text", "named"),
    [
        ("Redis", "databases", "kme-a → redis-a: it is silent", "redis-a"),
        ("Postgres", "databases", "kme-a → postgres-a: it is silent", "postgres-a"),
        ("KME kme-b", "peers", "kme-a → KME kme-b: it is silent", "kme-b"),
        ("QKDE qkde-a", "peers", "kme-a → QKDE qkde-a: it is silent", "qkde-a"),
        ("quantum link qlink-a-b", "peers", "kme-a → quantum link qlink-a-b: it is silent", "qlink-a-b"),
    ],
)
def test_what_a_process_needs_and_does_not_get_is_named_once(operator, what, check, text, named):
    operator.said = {"kme-a": {"ready": False, "why": ["it is silent"], "needs": {what: "it is silent"}}}
    (found,) = [one for one in all_of(operator) if not one.good]
    assert (found.check, found.text) == (check, text)
    assert f"qkd-lab logs {named}`" in found.hint


def test_a_clock_that_is_off_is_told_but_not_one_that_was_slow_to_answer(operator):
    operator.said = {"qkde-b": {"time": 1007.0}}
    assert bad(all_of(operator)) == ["clocks are off: qkde-b by +7.0 s"]
    ahead = {"kme-a": Answer({}, ahead_s=-7.0, unsure_s=6.0), "kme-b": Answer({})}
    assert bad(running.clocks(ahead)) == []


def test_a_process_of_another_version_is_told(operator):
    operator.said = {"kme-b": {"version": "0.0.9"}}
    assert bad(all_of(operator)) == [f"this is {__version__}, but kme-b runs 0.0.9"]


def test_an_empty_pool_is_told_and_one_that_is_being_filled_is_not(operator):
    operator.status = {"pools": [POOL | {"stored_key_count": 0, "high_watermark": 1000}]}
    assert bad(all_of(operator)) == ["sae-a → sae-b: 0 keys of 1000"]
    operator.status = {"pools": [POOL | {"stored_key_count": 1, "high_watermark": 1000}]}
    assert bad(all_of(operator)) == []


def test_a_link_whose_last_round_gave_no_key_is_told_with_the_reason(operator):
    aborted = ROUND | {"outcome": "aborted", "abort_reason": "QBER 0.250 is over the tolerance"}
    operator.status = {"links": [{"link": "a-b", "last_reports": [aborted, ROUND]}]}
    (text,) = bad(all_of(operator))
    assert "a-b: the last round that kme-a ordered gave no key: QBER 0.250" in text
    operator.status = {"links": [{"link": "a-b", "last_reports": [ROUND, aborted]}]}
    assert bad(all_of(operator)) == []


def test_a_link_without_pads_is_told(operator):
    operator.status = {"links": [{"link": "a-b", "last_reports": [ROUND | {"pad_bits_left": 0}]}]}
    (found,) = [one for one in all_of(operator) if not one.good]
    assert "no pads are left" in found.text and "link rekey a-b" in found.hint


def test_stores_that_may_not_be_used_yet_are_told(operator):
    operator.status = {"witness": {"state": "in quarantine", "peers": {"kme-b": "waiting for its confirmation"}}}
    assert bad(all_of(operator)) == ["kme-a: in quarantine; kme-b: waiting for its confirmation"]


def test_an_account_that_does_not_add_up_is_told(operator):
    operator.status = {"account": {"balanced": False}}
    assert bad(all_of(operator)) == ["kme-a: the account of secret bits does not add up"]


# ---- the command


def test_all_that_is_looked_at_is_told_to_a_program_and_ends_with_1(lab, operator, monkeypatch):
    command = sys.modules["qkd_lab.cli.doctor"]  # the package has the command itself by this name
    lab.endpoints.write_text("{}")
    operator.clock = time.time()
    monkeypatch.chdir(lab.path.parent)
    monkeypatch.setattr(command, "Operator", lambda found: operator)
    monkeypatch.setattr(command.control, "running_pid", lambda found: 1)
    well = CliRunner().invoke(doctor, ["--json"])
    assert well.exit_code == 0, well.output
    checks = {one["check"] for one in json.loads(well.output)}
    assert {"python", "servers", "disk", "certificates", "processes", "clocks", "versions", "pools"} <= checks
    operator.silent = {"qkde-b": "connection refused"}
    unwell = CliRunner().invoke(doctor, [])
    assert unwell.exit_code == 1
    (line,) = [line for line in unwell.output.splitlines() if line.startswith("BAD")]
    assert line.startswith("BAD processes: qkde-b: connection refused → `qkd-lab logs qkde-b`")


def test_readiness_is_read_from_a_refusal_too(lab, monkeypatch):
    class Peer:
        def __init__(self, error):
            self.error = error

        def request(self, *arguments, **options):
            raise self.error

    lab.endpoints.write_text("{}")
    operator = Operator(lab)
    refusal = Refused(503, "Redis does not answer", body={"ready": False, "why": ["x"], "process": "kme-a"})
    monkeypatch.setattr(operator, "peer", lambda name: Peer(refusal))
    assert operator.readiness("kme-a") == {"ready": False, "why": ["x"], "process": "kme-a"}
    monkeypatch.setattr(operator, "peer", lambda name: Peer(Unreachable("nothing listens there")))
    assert operator.readiness("kme-a") == {"ready": False, "why": ["nothing listens there"]}


def test_the_logs_of_containers_and_of_unknown_processes_are_refused_with_the_way_out(lab, monkeypatch):
    monkeypatch.chdir(lab.path.parent)
    lab.log("kme-a").write_text("2026-11-22 12:00:00,000 INFO kme: hello\n")
    assert CliRunner().invoke(logs, []).output == "kme-a            2026-11-22 12:00:00,000 INFO kme: hello\n"
    assert "there are kme-a" in str(CliRunner().invoke(logs, ["kme-c"]).exception)
    Path(lab.addresses).write_text(json.dumps({"kme-a": {"sae": "kme-a.sae:8443"}}))
    assert "docker compose logs -f kme-a" in str(CliRunner().invoke(logs, ["-f", "kme-a"]).exception)
