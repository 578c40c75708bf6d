"""What docker-compose.yml takes away from every container, whatever its profile, with replicas too. A service added
later must keep to it or say here why not."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
# The one-shot writes into a folder of the host's user and gives volumes to their containers' users.
CAPABILITIES = {"init": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]}
AS_ROOT = {"init"}
# They end by themselves.
COMMANDS = {"init", "demo"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEK|PRIVATE", re.IGNORECASE)
WITH_CREDENTIALS = re.compile(r"://[^/@\s]*:[^/@\s]+@")


@pytest.fixture(scope="module", params=[[], ["docker-compose.replicas.yml"]], ids=["alone", "with replicas"])
def services(request):
    if not shutil.which("docker"):
        pytest.skip("no docker command: docker-compose.yml is not read")
    files = [part for name in ("docker-compose.yml", *request.param) for part in ("-f", name)]
    command = ["docker", "compose", *files, "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def user_of_image(image):
    """The last USER of the image's stage, or of the one it is built on; only our own images are looked into."""
    stage, found, base_of = "", {}, {}
    for line in (CHECKOUT / "services" / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            stage = words[-1]
            base_of[stage] = words[1]
        elif words[:1] in (["USER"], ["HEALTHCHECK"]):
            found[stage, words[0]] = words[1]
    stage = image.removeprefix("qkd-lab/")

    def last(instruction):
        at = stage
        while at in base_of and (at, instruction) not in found:
            at = base_of[at]
        return found.get((at, instruction))

    return last("USER"), last("HEALTHCHECK")


def test_every_service_has_a_read_only_root_no_capabilities_and_gains_no_privileges(services):
    for name, service in services.items():
        assert service.get("read_only") is True, name
        assert service.get("cap_drop") == ["ALL"], name
        assert sorted(service.get("cap_add") or []) == CAPABILITIES.get(name, []), name
        assert service.get("security_opt") == ["no-new-privileges:true"], name
        assert not service.get("privileged") and not service.get("devices"), name
        assert service.get("pid") is None and service.get("ipc") is None and service.get("userns_mode") is None, name
        assert service["tmpfs"] == ["/tmp"], name


def test_every_service_has_a_bound_on_processes_and_memory(services):
    for name, service in services.items():
        assert 0 < int(service["pids_limit"]) <= 512 and 0 < int(service["mem_limit"]) <= 2 << 30, name


def test_no_service_runs_as_root_but_the_one_shot(services):
    for name, service in services.items():
        user = service.get("user") or user_of_image(service["image"])[0]
        assert user is not None, f"{name}: no user is said"
        assert (str(user).split(":")[0] in ("root", "0")) == (name in AS_ROOT), name


def test_every_service_that_stays_has_a_health_check_and_is_started_again(services):
    for name, service in services.items():
        if name in COMMANDS:
            continue
        assert service.get("restart") == "unless-stopped", name
        assert service.get("healthcheck") or user_of_image(service["image"])[1] not in (None, "NONE"), name


def test_no_secret_is_in_an_environment_or_a_command(services):
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            assert not SECRET.search(variable) or value.startswith("/"), f"{name}: {variable} is no path"
            assert not WITH_CREDENTIALS.search(value or ""), f"{name}: {variable}"
        assert not SECRET.search(" ".join(service.get("command") or [])), name


def test_nothing_of_the_host_can_be_written_to_but_by_the_one_shot(services):
    for name, service in services.items():
        for mount in service.get("volumes") or []:
            if mount["type"] == "bind" and name != "init":
                assert mount.get("read_only") is True, f"{name}: {mount['source']}"
            assert "docker.sock" not in mount["source"], name


def test_every_published_port_is_on_loopback(services):
    for name, service in services.items():
        for port in service.get("ports") or []:
            assert port["host_ip"] == "127.0.0.1", name


def test_replicas_hold_no_port_of_the_host_and_their_proxy_holds_the_same_ones(services):
    published = {
        port["published"]: (name, port["target"]) for name, one in services.items() for port in one.get("ports", [])
    }
    scaled = "kme-a-ports" in services
    for port, kme, target in (("8000", "kme-a", 8443), ("9000", "kme-a", 9443), ("8001", "kme-b", 8443)):
        assert published[port] == (f"{kme}-ports" if scaled else kme, target)
    if scaled:
        assert services["kme-a"]["scale"] == 2 and not services["kme-a"].get("ports")
        # Reached from the host alone: listeners are on networks of their own, and a proxy must not be a way around.
        assert services["kme-a-ports"]["networks"]["host"]["aliases"] == ["kme-a-ports.host"]
        binds = re.findall(r"^ *bind (\S+)", (CHECKOUT / "services" / "haproxy.cfg").read_text(), re.MULTILINE)
        assert binds == ['"${KME}-ports.host:8443"', '"${KME}-ports.host:9443"', "127.0.0.1:8080"]
