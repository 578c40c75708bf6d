"""KME a as it is really served: its own process, gunicorn and certificates, on the tests' stores."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from kme.entity import Entity
from kme.model import KmeSettings, Link
from mutual_tls.contexts import Credentials, client_context
from qkd_lab.lab_folder import write_json
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
LISTENERS = ("sae", "peer", "qkde", "ops")
ME = "/api/v1/sae/info/me"


@dataclass
class ServedKme:
    pki: Path
    ports: dict[str, int]
    process: subprocess.Popen
    log: Path

    @property
    def worker(self) -> int:
        """The process id of the one worker."""
        (found,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(found)

    def descriptor_count(self) -> int:
        return len(os.listdir(f"/proc/{self.worker}/fd"))

    def thread_count(self) -> int:
        return len(os.listdir(f"/proc/{self.worker}/task"))

    def dial(self, listener: str = "sae", shown: str = "sae-a") -> ssl.SSLSocket:
        context = client_context(Credentials.in_folder(self.pki / shown))
        return context.wrap_socket(self.dial_plain(listener), server_hostname="localhost")

    def dial_plain(self, listener: str = "sae") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=15)

    def client(self, shown: str = "bystander") -> http.client.HTTPSConnection:
        """One connection, opened by its first request and kept."""
        context = client_context(Credentials.in_folder(self.pki / shown))
        return http.client.HTTPSConnection("localhost", self.ports["sae"], timeout=15, context=context)


def who_am_i(client: http.client.HTTPSConnection) -> str:
    client.request("GET", ME)
    answer = client.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 200, body
    return body["SAE_ID"]


@contextmanager
def served_kme(folder: Path, postgres_dsn: str, redis_url: str, **settings: str) -> Iterator[ServedKme]:
    """`settings` go into its environment. The SAEs sae-a and bystander are registered."""
    pki, secrets, topology = folder / "pki", folder / "secrets", load(SHIPPED / "two-sites.toml")
    Pki(pki, datetime.now(UTC)).make(topology)
    Pki(pki, datetime.now(UTC)).issue_sae("bystander", "a")
    postgres, redis = urlsplit(postgres_dsn), urlsplit(redis_url)
    secrets.mkdir()
    for name, value in (("postgres.password", postgres.password), ("redis.password", redis.password or "")):
        (secrets / name).write_text(value)
    kek = bytes(range(32))
    (secrets / "kek").write_text(kek.hex())
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    book = {
        "kme-a": {name: f"127.0.0.1:{port}" for name, port in ports.items()},
        "kme-b": {"peer": "127.0.0.1:1"},
        "postgres-a": {"sql": f"{postgres.hostname}:{postgres.port}"},
        "redis-a": {"redis": f"{redis.hostname}:{redis.port}"},
    }
    write_json(folder / "addresses.json", book, 0o644)
    entity = Entity(
        KmeSettings("kme-a", "site-a", "qkde-a", (Link("a-b", "kme-b"),)),
        postgres_dsn=postgres_dsn, redis_url=f"{redis_url}/0", kek=kek, db=CHECKOUT / "db", peers={}, database_size=1,
    )  # fmt: skip
    entity.prepare(["sae-a", "bystander"], [])
    entity.close()
    environ = {
        **os.environ, "PYTHONPATH": str(CHECKOUT), "QKD_PROCESS": "kme-a", "QKD_PKI": str(pki),
        "QKD_TOPOLOGY": str(SHIPPED / "two-sites.toml"), "QKD_ADDRESSES": str(folder / "addresses.json"),
        "QKD_SECRETS": str(secrets), "QKD_STATE": str(folder), **settings,
    }  # fmt: skip
    log = folder / "kme-a.log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "services.kme_api"], env=environ, stderr=file, cwd=CHECKOUT)
    served = ServedKme(pki, ports, process, log)
    try:
        while process.poll() is None:
            with suppress(OSError), closing(served.client()) as client:
                who_am_i(client)
                break
        assert process.poll() is None, log.read_text()
        yield served
    finally:
        process.terminate()
        process.wait(15)
