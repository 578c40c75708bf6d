"""What only the network in containers has: its networks are the trust boundaries, and each container holds its own."""

import json
import subprocess

import pytest

from running_lab import Lab

pytestmark = pytest.mark.parametrize("lab", ["compose"], indirect=True)

DIAL = """
import json, socket, sys
reached = []
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
        reached.append(target)
    except OSError:
        pass
print(json.dumps(reached))
"""


def reached(lab: Lab, service: str, *targets: str) -> list[str]:
    out, _, code = lab.compose.exec_in_container(["python", "-c", DIAL, *targets], service_name=service)
    assert code == 0
    return json.loads(out)


@pytest.mark.parametrize(
    ("service", "may_reach", "may_not_reach"),
    [
        ("qlink-a-b", [], ["qkde-a.classical:8444", "qkde-b.classical:8444", "qkde-a.ops:8444", "postgres-a:5432"]),
        ("qkde-a", ["qkde-b.classical:8444", "qlink-a-b.qkd:8443"], ["kme-b.qkde:8445", "kme-a.peer:8444"]),
        ("kme-a", ["kme-b.peer:8444", "redis-a:6379"], ["redis-b:6379", "postgres-b:5432", "qlink-a-b.qkd:8443"]),
        ("sae-a", ["kme-a.sae:8443", "sae-b.app:8443"], ["kme-b.sae:8443", "qkde-a.classical:8444", "kme-a.peer:8444"]),
    ],
)
def test_a_process_reaches_what_its_trust_boundary_allows_and_nothing_else(lab, service, may_reach, may_not_reach):
    assert reached(lab, service, *may_reach, *may_not_reach) == may_reach


def test_a_container_holds_its_own_identity_and_no_other(lab):
    out, _, _ = lab.compose.exec_in_container(
        ["sh", "-c", "find /identity -name key.pem; find /identity -path '*secrets/*' -type f"], service_name="qkde-a"
    )
    assert set(out.split()) == {
        "/identity/pki/qkde-a/key.pem",
        "/identity/pki/probe/key.pem",
        "/identity/secrets/spool-key",
    }


@pytest.mark.parametrize(
    "service", ["kme-a", "kme-a-scheduler", "qkde-a", "qlink-a-b", "sae-a", "postgres-a", "redis-a"]
)
def test_no_process_runs_as_root(lab, service):
    out, _, _ = lab.compose.exec_in_container(["id", "-u"], service_name=service)
    assert out.strip() != "0"


@pytest.mark.parametrize("service", ["kme-a", "sae-a", "qkde-a"])
def test_only_the_quantum_link_has_qiskit(lab, service):
    look = "from importlib.util import find_spec; print(find_spec('qiskit') is not None)"
    for where, expected in ((service, "False"), ("qlink-a-b", "True")):
        out, _, _ = lab.compose.exec_in_container(["python", "-c", look], service_name=where)
        assert out.strip() == expected


def test_the_message_exchange_runs_in_the_network(lab):
    lab.wait_for_keys(10)
    done = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "demo"], cwd=lab.folder, capture_output=True, text=True
    )
    lab.tell_published_ports()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sae-b" in done.stdout
