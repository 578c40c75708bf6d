"""`qkd-lab sae` and `qkd-lab connection`: what they ask of which KME, and what they say."""

from __future__ import annotations

import importlib
import json

import pytest
from click.testing import CliRunner

from kme.administration_wire import connection_change, sae_change
from kme.model import Connection, Sae, SaeLimits
from qkd_lab.topology import SHIPPED, load

# As attributes of the package these are the commands of that name.
MODULES = {name: importlib.import_module(f"qkd_lab.cli.{name}") for name in ("sae", "connection")}
LIMITS = ("requests_per_s", "request_burst", "bits_per_hour", "bits_per_day")
CONNECTION = {
    "connection_id": "an-id",
    "source_KME_ID": "kme-a",
    "target_KME_ID": "kme-b",
    "master_SAE_ID": "sae-a",
    "slave_SAE_ID": "sae-b",
    "key_size": 256,
    "max_keys_count": 20,
    "max_key_per_request": 10,
    "max_SAE_ID_count": 0,
    "stored_key_count": 12,
    "suspended": False,
    "revision": 0,
}
NO_LIMITS = dict.fromkeys(LIMITS)


def an_sae(sae_id, kme_id):
    limits = {"limits": NO_LIMITS, "effective_limits": NO_LIMITS}
    return {"sae_id": sae_id, "kme_id": kme_id, "suspended": False, **limits}


@pytest.fixture
def lab(monkeypatch):
    """Answers of the operator listeners by (process, method, path); what was changed is in `lab.calls`."""

    class Lab:
        topology = load(SHIPPED / "two-sites.toml")
        calls = []
        answers = {
            ("kme-a", "GET", "/v1/saes"): [an_sae("sae-a", "kme-a")],
            ("kme-b", "GET", "/v1/saes"): [an_sae("sae/b", "kme-b")],
            ("kme-a", "GET", "/v1/connections"): [CONNECTION],
            ("kme-b", "GET", "/v1/connections"): [CONNECTION],
        }

        def __init__(self, lab):
            pass

        def call(self, process, method, path, body=None, timeout_s=10.0):
            if method != "GET":
                self.calls.append((process, method, path, body))
            return self.answers[process, method, path]

    Lab.calls = []
    Lab.answers = dict(Lab.answers)
    for module in MODULES.values():
        monkeypatch.setattr(module, "Operator", Lab)
    return Lab


def run(group, *arguments, exit_code=0):
    done = CliRunner().invoke(getattr(MODULES[group], group), arguments)
    assert done.exit_code == exit_code, done.output or done.exception
    return done.output


def test_saes_of_all_kmes_are_listed(lab):
    assert run("sae", "list") == "sae-a at kme-a\nsae/b at kme-b\n"
    assert [one["sae_id"] for one in json.loads(run("sae", "list", "--json"))] == ["sae-a", "sae/b"]


def test_an_sae_is_changed_at_its_own_kme_with_its_id_encoded(lab):
    changed = an_sae("sae/b", "kme-b") | {"suspended": True}
    lab.answers["kme-b", "PATCH", "/v1/saes/sae%2Fb"] = changed
    assert run("sae", "suspend", "sae/b") == "sae/b at kme-b, suspended\n"
    run("sae", "set", "sae/b", "--requests-per-s", "5", "--bits-per-day", "default")
    bodies = [body for *_, body in lab.calls]
    assert bodies == [{"suspended": True}, {"requests_per_s": 5, "bits_per_day": None}]
    limits = SaeLimits(bits_per_day=9)
    changed = sae_change(json.dumps(bodies[1]).encode())(Sae("sae/b", limits=limits))
    assert changed.limits == SaeLimits(requests_per_s=5)


def test_a_limit_of_nothing_is_wrong_usage(lab):
    assert "expected a number of 1 or more" in run("sae", "set", "sae-a", "--bits-per-day", "0", exit_code=2)
    assert "nothing to set" in run("sae", "set", "sae-a", exit_code=2)


def test_connections_are_listed_once(lab):
    line = "sae-a → sae-b (kme-a → kme-b), 12 of 20 keys of 256 bits, 10 per request\n"
    assert run("connection", "list") == run("connection", "show", "sae-a", "sae-b") == line


def test_a_connection_is_changed_at_its_masters_kme(lab):
    path = "/v1/connections/an-id"
    peer = {"kme_id": "kme-b", "told": False}
    lab.answers["kme-a", "PATCH", path] = CONNECTION | {"TTL": 60, "complete": False, "peer": peer}
    said = run("connection", "set", "sae-a", "sae-b", "--max-keys", "30", "--ttl-s", "60", "--qos", "Priority=2")
    assert "TTL 60" in said and "kme-b will be told when it can be reached" in said
    ((*where, body),) = lab.calls
    assert where == ["kme-a", "PATCH", path]
    changed = connection_change(json.dumps(body).encode())(Connection("kme-a", "kme-b", "sae-a", "sae-b"))
    assert (changed.max_key_count, changed.qos) == (30, {"Priority": 2, "TTL": 60})


def test_a_removal_says_how_many_keys_were_destroyed_where(lab):
    peer = {"kme_id": "kme-b", "told": True, "destroyed_key_count": 15}
    removed = CONNECTION | {"removed": True, "destroyed_key_count": 12, "complete": True, "peer": peer}
    lab.answers["kme-a", "DELETE", "/v1/connections/an-id"] = removed
    lab.answers["kme-a", "DELETE", "/v1/saes/sae-a"] = {
        "sae_id": "sae-a",
        "destroyed_key_count": 12,
        "connections": [removed | {"peer": peer | {"told": False, "destroyed_key_count": None}}],
    }
    assert run("connection", "remove", "sae-a", "sae-b") == (
        "sae-a → sae-b is removed: 12 keys destroyed, 15 at kme-b\n"
    )
    assert run("sae", "remove", "sae-a") == (
        "SAE sae-a is removed, 12 keys destroyed at its KME\n"
        "sae-a → sae-b is removed: 12 keys destroyed; kme-b follows when it can be reached\n"
    )


def test_what_is_not_registered_is_said_in_words(lab):
    for arguments in (("sae", "show", "nobody"), ("connection", "remove", "sae-b", "sae-a")):
        done = CliRunner().invoke(getattr(MODULES[arguments[0]], arguments[0]), arguments[1:])
        assert done.exit_code == 1 and "list` shows those that are" in str(done.exception)
