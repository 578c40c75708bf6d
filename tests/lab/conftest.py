"""The whole network, in both ways of running: every test with the fixture `lab` runs against each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

CHECKOUT = Path(__file__).resolve().parents[2]
QKD_LAB = [sys.executable, "-m", "qkd_lab.cli"]
KEYS_WITHIN_S = 60


@dataclass(frozen=True)
class Lab:
    """A running network. `folder` holds `.lab`; `logs` gives all that its processes have logged."""

    folder: Path
    logs: Callable[[], str]
    compose: Any = None  # testcontainers' DockerCompose, where it runs in containers

    def command(self, *arguments: str, expected: int = 0) -> str:
        """A `qkd-lab` command in the lab's folder: what it prints, on both streams."""
        done = subprocess.run(
            [*QKD_LAB, *arguments], cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == expected, done.stdout
        return done.stdout

    def endpoint(self, name: str) -> str:
        return json.loads((self.folder / ".lab" / "endpoints.json").read_text())[name]

    def identity(self, name: str) -> Path:
        return self.folder / ".lab" / "pki" / name

    def as_sae(self, sae_id: str) -> requests.Session:
        """A session with the SAE's certificate, as any ETSI 014 client on the host would have it."""
        return self._session(sae_id)

    def as_operator(self) -> requests.Session:
        return self._session("operator")

    def _session(self, name: str) -> requests.Session:
        session, folder = requests.Session(), self.identity(name)
        session.trust_env = False
        session.cert = (str(folder / "cert.pem"), str(folder / "key.pem"))
        session.verify = str(folder / "ca.pem")
        return session

    def enc_keys(self, master: str, slave: str, kme: str, **request: Any) -> requests.Response:
        with self.as_sae(master) as session:
            return session.post(f"{self.endpoint(kme)}/api/v1/keys/{slave}/enc_keys", json=request)

    def dec_keys(self, slave: str, master: str, kme: str, key_ids: list[str]) -> requests.Response:
        with self.as_sae(slave) as session:
            body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
            return session.post(f"{self.endpoint(kme)}/api/v1/keys/{master}/dec_keys", json=body)

    def stored_key_count(self, master: str, slave: str, kme: str) -> int:
        with self.as_sae(master) as session:
            status = session.get(f"{self.endpoint(kme)}/api/v1/keys/{slave}/status")
        return status.json().get("stored_key_count", 0) if status.ok else 0

    def wait_for_keys(self, count: int = 1, master: str = "sae-a", slave: str = "sae-b", kme: str = "kme-a") -> None:
        eventually(lambda: self.stored_key_count(master, slave, kme) >= count, f"{count} keys for {master}→{slave}")


def eventually(condition: Callable[[], Any], what: str, within_s: float = KEYS_WITHIN_S) -> Any:
    """Waits for `condition` and returns what it gave."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)
    return found


def docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session", params=["embedded", "compose"])
def lab(request, tmp_path_factory) -> Iterator[Lab]:
    yield from {"embedded": embedded_lab, "compose": compose_lab}[request.param](tmp_path_factory)


def embedded_lab(tmp_path_factory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("embedded")
    logs = folder / ".lab" / "log"
    lab = Lab(folder, lambda: "\n".join(path.read_text(errors="replace") for path in sorted(logs.glob("*.log"))))
    environment = {**os.environ, "QKD_LOG_LEVEL": "DEBUG"}
    started = time.monotonic()
    subprocess.run([*QKD_LAB, "up"], cwd=folder, check=True, env=environment)
    try:
        lab.wait_for_keys()
        print(f"\nembedded: {time.monotonic() - started:.1f} s from `qkd-lab up` to the first deliverable key")
        yield lab
    finally:
        subprocess.run([*QKD_LAB, "down"], cwd=folder, check=True)


def compose_lab(tmp_path_factory) -> Iterator[Lab]:
    if not docker_answers():
        assert os.environ.get("QKD_LAB_DOCKER") != "required", "QKD_LAB_DOCKER=required, but no Docker engine answers"
        pytest.skip("no Docker engine answers: the network in containers is not tested")
    from testcontainers.compose import DockerCompose

    # A copy: a lab of the checkout's own folder must not be touched.
    folder = tmp_path_factory.mktemp("compose") / "qkdlabtest"
    unwanted = shutil.ignore_patterns(".git", ".lab", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
    shutil.copytree(CHECKOUT, folder, ignore=unwanted)
    compose = DockerCompose(str(folder), build=True, wait=True)
    subprocess.run(["docker", "compose", "build", "--quiet"], cwd=folder, check=True)
    lab = Lab(folder, lambda: "\n".join(compose.get_logs()), compose)
    started = time.monotonic()
    try:
        compose.start()
        print(f"\ncompose: {time.monotonic() - started:.1f} s for `docker compose up --wait` with images built")
        lab.wait_for_keys()
        yield lab
    finally:
        if os.environ.get("QKD_LAB_KEEP") != "1":
            compose.stop(down=True)
