"""`qkd-lab audit` and `qkd-lab kek`: what they ask of which KME, and what they say."""

from __future__ import annotations

import importlib
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from qkd_lab.topology import SHIPPED, load

# As attributes of the package these are the commands of that name.
MODULES = {name: importlib.import_module(f"qkd_lab.cli.{name}") for name in ("audit", "kek")}


def row(number, event="keys_delivered", **detail):
    return {"audit_id": number, "at": "2026-11-22T10:00:00.123+00:00", "event": event, "detail": detail, "chain": "ab"}


@pytest.fixture
def lab(monkeypatch):
    """Two KMEs, with 1,203 and 2 rows; what is wrong with them in `lab.findings`, their KEKs in `lab.keks`."""

    class Lab:
        topology = load(SHIPPED / "two-sites.toml")
        calls = []
        rows = {
            "kme-a": [row(i, key_ids=["one", "two"], sae_id="sae-a") for i in range(1, 1204)],
            "kme-b": [row(1), row(2)],
        }
        findings = {"kme-a": [], "kme-b": []}
        restored = {"kme-a": [], "kme-b": []}
        left = {"kme-a": 2, "kme-b": 0}

        def __init__(self, lab):
            pass

        def call(self, process, method, path, body=None, timeout_s=10.0):
            self.calls.append((process, method, path))
            parts = urlsplit(path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path.startswith("/v1/kek"):
                self.left[process] -= method == "GET"
                retired = ["0ld"] if self.left[process] >= 0 else []
                return {"fingerprint": "new", "retired": retired, "rewrapped_count": 7, "kept_in": "file"}
            after, count = int(query["after"]), int(query["count"])
            page = [one for one in self.rows[process] if one["audit_id"] > after][:count]
            if parts.path == "/v1/audit":
                return page
            complete = len(page) < count
            return {
                "row_count": len(page),
                "last": page[-1]["audit_id"] if page else after,
                "complete": complete,
                "findings": self.findings[process] if complete else [],
                "restored": self.restored[process] if complete else [],
                "end": {"audit_id": len(self.rows[process]), "chain": "cd" * 32},
            }

    Lab.calls.clear()
    for module in MODULES.values():
        monkeypatch.setattr(module, "Operator", Lab)
    monkeypatch.setattr(MODULES["kek"].time, "sleep", lambda _: None)
    return Lab


def run(name, *arguments):
    return CliRunner().invoke(getattr(MODULES[name], name), arguments)


def test_a_sound_trail_is_verified_to_its_end(lab):
    done = run("audit", "verify")
    assert done.exit_code == 0, done.output
    assert "kme-a: 1203 rows, nothing removed, changed or inserted; the trail ends with row 1203, cdcd" in done.output
    assert "kme-b: 2 rows" in done.output


def test_what_is_wrong_is_named_and_makes_it_fail(lab):
    lab.findings["kme-b"] = [{"audit_id": 2, "what": "was changed"}]
    done = run("audit", "verify")
    assert done.exit_code == 1
    assert "kme-b: row 2: was changed" in done.output and "kme-b: 2 rows, 1 findings" in done.output
    as_json = run("audit", "verify", "--kme", "kme-b", "--json")
    assert as_json.exit_code == 1 and json.loads(as_json.output)["kme-b"]["findings"] == lab.findings["kme-b"]
    assert run("audit", "verify", "--kme", "kme-a").exit_code == 0


def test_all_pages_are_shown_a_line_per_row(lab):
    lines = run("audit", "show", "--kme", "kme-a").output.splitlines()
    assert len(lines) == 1203
    assert lines[0].split() == [
        "kme-a",
        "1",
        "2026-11-22T10:00:00.123",
        "keys_delivered",
        "keys=one",
        "and",
        "1",
        "more",
        "sae_id=sae-a",
    ]
    found = [json.loads(line) for line in run("audit", "show", "--json").output.splitlines()]
    assert len(found) == 1205 and found[-1]["kme_id"] == "kme-b"


def test_event_and_time_are_asked_of_the_kme(lab):
    assert (
        run("audit", "show", "--kme", "kme-b", "--event", "kek_rotated", "--since", "2026-11-22T10:00:00Z").exit_code
        == 0
    )
    assert "event=kek_rotated&since=2026-11-22T10%3A00%3A00%2B00%3A00" in lab.calls[-1][2]


@pytest.mark.parametrize(
    "arguments",
    [("audit", "show", "--since", "noon"), ("audit", "verify", "--kme", "kme-x"), ("kek", "rotate", "kme-x")],
)
def test_what_makes_no_sense_is_refused(lab, arguments):
    done = run(*arguments)
    assert done.exit_code == 2 and not lab.calls


def test_a_rotation_is_waited_for(lab):
    done = run("kek", "rotate", "kme-a")
    assert done.exit_code == 0, done.output
    first, last = done.output.splitlines()
    assert "7 values wrapped anew, 0ld is being replaced" in first
    assert "everything stored is wrapped under it" in last
    assert [method for _, method, _ in lab.calls] == ["POST", "GET", "GET", "GET"]


def test_waiting_ends(lab):
    lab.left["kme-a"] = 1000
    done = run("kek", "rotate", "kme-a", "--wait-s", "0")
    assert done.exit_code == 1 and "goes on by itself" in str(done.exception)


def test_every_kmes_fingerprint_is_shown(lab):
    assert len(run("kek", "show").output.splitlines()) == 2
    assert json.loads(run("kek", "show", "--json").output)["kme-b"]["fingerprint"] == "new"
