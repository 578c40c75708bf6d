"""A running network as a test sees it: its folder, its commands, its endpoints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

CHECKOUT = Path(__file__).resolve().parents[2]
QKD_LAB = [sys.executable, "-m", "qkd_lab.cli"]
KEYS_WITHIN_S = 120
# Of the shipped connections. A pool is filled again only from below this on: one with more may have what it needs.
LOW_WATERMARK = 500


@dataclass(frozen=True)
class Lab:
    """A running network. `folder` holds `.lab`; `logs` gives all that its processes have logged."""

    folder: Path
    logs: Callable[[], str]
    compose: Any = None  # testcontainers' DockerCompose, where it runs in containers
    ports: Mapping[str, str] = field(default_factory=dict)  # there: what the tests publish a port of the host as

    def tell_published_ports(self) -> None:
        """The one-shot `init` tells the ports of docker-compose.yml, each time it runs."""
        endpoints = self.folder / ".lab" / "endpoints.json"
        told = re.sub(r":(\d+)\"", lambda port: f':{self.ports.get(port[1], port[1])}"', endpoints.read_text())
        endpoints.write_text(told)

    def hand_over_certificates(self) -> None:
        """Gives each container its own of what is in `.lab/pki` now."""
        subprocess.run(["docker", "compose", "run", "--rm", "init"], cwd=self.folder, check=True)
        self.tell_published_ports()

    def command(self, *arguments: str, expected: int | None = 0) -> str:
        """A `qkd-lab` command in the lab's folder: what it prints, on both streams; `expected` is its exit code, None
        any."""
        done = subprocess.run(
            [*QKD_LAB, *arguments], cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert expected in (None, done.returncode), done.stdout
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


def docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def eventually(condition: Callable[[], Any], what: str, within_s: float = KEYS_WITHIN_S) -> Any:
    """Waits for `condition` and returns what it gave."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)
    return found
