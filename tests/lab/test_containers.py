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
    name, _, addresses = target.partition("=")
    for address in addresses.split(","):
        host, port = address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), 1).close()
            reached.append(name)
            break
        except OSError:
            pass
print(json.dumps(reached))
"""
PORTS = {"sae": 8443, "peer": 8444, "qkde": 8445, "kme": 8443, "classical": 8444, "qkd": 8443, "app": 8443}
STORES = {"postgres-a": 5432, "postgres-b": 5432, "redis-a": 6379, "redis-b": 6379}


def addresses(lab: Lab, service: str) -> list[str]:
    """The service's addresses on all its networks: a name that does not resolve proves nothing."""
    container = lab.compose.get_container(service).ID
    shown = ["docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", container]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.split()


def reached(lab: Lab, service: str, targets: list[str]) -> list[str]:
    """Which of `targets` (`kme-a.peer`, `redis-b`) the service gets a TCP connection to, by any address."""
    arguments = []
    for target in targets:
        name, _, listener = target.partition(".")
        port = PORTS[listener] if listener else STORES[name]
        arguments.append(f"{target}={','.join(f'{address}:{port}' for address in addresses(lab, name))}")
    out, _, code = lab.compose.exec_in_container(["python", "-c", DIAL, *arguments], service_name=service)
    assert code == 0
    return json.loads(out)


@pytest.mark.parametrize(
    ("service", "may_reach", "may_not_reach"),
    [
        ("qlink-a-b", [], ["qkde-a.classical", "qkde-b.classical", "kme-a.sae", "postgres-a", "redis-b"]),
        ("qkde-a", ["qkde-b.classical", "qlink-a-b.qkd", "kme-a.qkde"], ["kme-b.qkde", "kme-a.peer", "redis-b"]),
        ("kme-a", ["kme-b.peer", "redis-a", "qkde-a.kme"], ["redis-b", "postgres-b", "qlink-a-b.qkd", "kme-b.sae"]),
        ("sae-a", ["kme-a.sae", "sae-b.app"], ["kme-b.sae", "qkde-a.classical", "kme-a.peer", "qlink-a-b.qkd"]),
    ],
)
def test_a_process_reaches_what_its_trust_boundary_allows_and_nothing_else(lab, service, may_reach, may_not_reach):
    assert reached(lab, service, may_reach + may_not_reach) == may_reach


def test_a_container_holds_its_own_identity_and_no_other(lab):
    out, _, _ = lab.compose.exec_in_container(
        ["sh", "-c", "find /identity -name key.pem; find /identity -path '*secrets/*' -type f"], service_name="qkde-a"
    )
    assert set(out.split()) == {
        "/identity/pki/qkde-a/key.pem",
        "/identity/pki/probe/key.pem",
        "/identity/secrets/spool-key",
        "/identity/secrets/pre-shared-key.a-b",
    }


SERVICES = ("kme-a", "kme-a-scheduler", "qkde-a", "qlink-a-b", "sae-a", "postgres-a", "redis-a")
EVERY_SERVICE = pytest.mark.parametrize("service", SERVICES)


@EVERY_SERVICE
def test_no_process_runs_as_root_has_a_capability_or_can_get_one(lab, service):
    out, _, _ = lab.compose.exec_in_container(["cat", "/proc/1/status"], service_name=service)
    status = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    for held in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[held], 16) == 0, held
    assert status["NoNewPrivs"].strip() == "1"


@EVERY_SERVICE
def test_a_container_can_write_to_no_part_of_its_image(lab, service):
    folders = "/ /app /venv /etc /usr/local/bin /identity /crl /tmp"
    attempt = f"for folder in {folders}; do touch $folder/written 2>/dev/null && echo $folder; done; true"
    out, _, _ = lab.compose.exec_in_container(["sh", "-c", attempt], service_name=service)
    assert out.split() == ["/tmp"]


@EVERY_SERVICE
def test_no_secret_is_in_what_the_engine_tells_of_a_container(lab, service):
    container = lab.compose.get_container(service).ID
    shown = ["docker", "inspect", "-f", "{{json .Config}}{{json .Args}}", container]
    told = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    found = [path for path in (lab.folder / ".lab").rglob("*") if path.is_file() and "secrets" in path.parts]
    secrets = [path.read_text().strip() for path in found]
    assert len(secrets) >= 6 and all(len(one) >= 16 for one in secrets)
    assert not [path.name for path, secret in zip(found, secrets, strict=True) if secret in told]


@pytest.mark.parametrize("service", ["kme-a", "sae-a", "qkde-a"])
def test_only_the_quantum_link_has_qiskit(lab, service):
    look = "from importlib.util import find_spec; print(find_spec('qiskit') is not None)"
    for where, expected in ((service, "False"), ("qlink-a-b", "True")):
        out, _, _ = lab.compose.exec_in_container(["python", "-c", look], service_name=where)
        assert out.strip() == expected


def test_the_message_exchange_runs_in_the_network_and_starts_nothing_anew(lab):
    lab.wait_for_keys(10)
    before = {service: lab.compose.get_container(service).ID for service in ("kme-a", "kme-b", "qkde-b", "sae-b")}
    done = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "demo"], cwd=lab.folder, capture_output=True, text=True
    )
    lab.tell_published_ports()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sae-b" in done.stdout
    assert {service: lab.compose.get_container(service).ID for service in before} == before
