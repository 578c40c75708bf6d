"""The whole network, in both ways of running: every test with the fixture `lab` runs against each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from free_ports import free_ports
from running_lab import CHECKOUT, QKD_LAB, Lab, docker_answers


@pytest.fixture(scope="session", params=["embedded", "compose"])
def lab(request, tmp_path_factory, figure) -> Iterator[Lab]:
    yield from {"embedded": embedded_lab, "compose": compose_lab}[request.param](tmp_path_factory, figure)


def embedded_lab(tmp_path_factory, figure) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("embedded")
    logs = folder / ".lab" / "log"
    lab = Lab(folder, lambda: "\n".join(path.read_text(errors="replace") for path in sorted(logs.glob("*.log"))))
    environment = {**os.environ, "QKD_LOG_LEVEL": "DEBUG"}
    started = time.monotonic()
    subprocess.run([*QKD_LAB, "up"], cwd=folder, check=True, env=environment)
    try:
        lab.wait_for_keys()
        figure(f"embedded: {time.monotonic() - started:.1f} s from `qkd-lab up` to the first deliverable key")
        yield lab
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=folder, check=True)


def compose_lab(tmp_path_factory, figure) -> Iterator[Lab]:
    if not docker_answers():
        assert os.environ.get("QKD_LAB_DOCKER") != "required", "QKD_LAB_DOCKER=required, but no Docker engine answers"
        pytest.skip("no Docker engine answers: the network in containers is not tested")
    from testcontainers.compose import DockerCompose

    # A copy: a lab of the checkout's own folder must not be touched. Its name is the name of the compose project.
    folder = tmp_path_factory.mktemp("compose") / f"qkdlab{os.getpid()}"
    unwanted = shutil.ignore_patterns(".git", ".lab", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
    shutil.copytree(CHECKOUT, folder, ignore=unwanted)
    ports = publish_on_free_ports(folder)
    compose = DockerCompose(str(folder), build=True, wait=True)
    subprocess.run(["docker", "compose", "build", "--quiet"], cwd=folder, check=True)
    lab = Lab(folder, lambda: "\n".join(compose.get_logs()), compose, ports)
    started = time.monotonic()
    try:
        compose.start()
        figure(f"compose: {time.monotonic() - started:.1f} s for `docker compose up --wait` with images built")
        lab.tell_published_ports()
        lab.wait_for_keys()
        yield lab
    finally:
        if os.environ.get("QKD_LAB_KEEP") != "1":
            compose.stop(down=True)


def publish_on_free_ports(folder: Path) -> dict[str, str]:
    """An override file with other ports on the host, so that a lab that runs here already is not in the way."""
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    described = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    services = json.loads(described.stdout)["services"]
    told = [one["published"] for service in services.values() for one in service.get("ports", [])]
    ports, lines = dict(zip(told, map(str, free_ports(len(told))), strict=True)), ["services:"]
    for name, service in services.items():
        published = service.get("ports", [])
        mapped = ", ".join(f'"127.0.0.1:{ports[one["published"]]}:{one["target"]}"' for one in published)
        lines += [f"  {name}:", f"    ports: !override [{mapped}]"] if published else []
    (folder / "docker-compose.override.yml").write_text("\n".join(lines) + "\n")
    return ports
