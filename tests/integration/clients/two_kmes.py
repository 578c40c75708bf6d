"""Two whole KMEs as processes, on real stores, and connections to them over mutual TLS."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import redis
import requests

from mutual_tls.contexts import Credentials, client_context
from qkd_lab.lab_folder import LabFolder

CHECKOUT = Path(__file__).resolve().parents[3]
READY_WITHIN_S = 60
MAX_KEYS, MAX_KEYS_PER_REQUEST = 200, 100
STRANGE = "vpn/1?ü b%2F"
TOPOLOGY = f"""
[[sites]]
name = "a"
saes = ["sae-a", "stranger-a"]
[[sites]]
name = "b"
saes = ["sae-b", "stranger-b", "{STRANGE}"]
[[links]]
name = "a-b"
alice = "a"
bob = "b"
""" + "".join(
    f"""
[[connections]]
master = "{master}"
slave = "{slave}"
max_keys = {MAX_KEYS}
max_keys_per_request = {MAX_KEYS_PER_REQUEST}
"""
    for master, slave in (("sae-a", "sae-b"), ("sae-b", "sae-a"), ("sae-a", STRANGE))
)


@dataclass(frozen=True)
class Answer:
    """An answer as it came: `headers` by name in lower case, `reads` the lengths of the pieces TLS gave."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reads: tuple[int, ...] = ()


class Connection:
    """One TLS connection: whole requests go out, whole answers come in, octet by octet as they are."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._tls.close()

    def ask(self, request: bytes) -> Answer:
        self._tls.sendall(request)
        return self.answer(head_only=request.startswith(b"HEAD "))

    def answer(self, head_only: bool = False) -> Answer:
        received, reads = b"", []
        while b"\r\n\r\n" not in received:
            received += self._read(reads)
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if head_only else int(headers.get("content-length", "0"))
        while len(body) < length:
            body += self._read(reads)
        assert len(body) == length, "more came than Content-Length says"
        return Answer(int(first.split()[1]), headers, body, tuple(reads))

    def _read(self, reads: list[int]) -> bytes:
        part = self._tls.recv(1 << 20)
        assert part, "the connection was closed within an answer"
        reads.append(len(part))
        return part


class Kmes:
    """kme-a and kme-b as processes; certificates, addresses and logs are in `lab`."""

    def __init__(self, lab: LabFolder) -> None:
        self.lab = lab
        self._operator = self.session("operator")
        self._contexts: dict[str, ssl.SSLContext] = {}

    def __enter__(self) -> Kmes:
        return self

    def __exit__(self, *_: object) -> None:
        self._operator.close()

    def url(self, name: str) -> str:
        return self.lab.read_endpoints()[name]

    def files(self, holder: str) -> tuple[str, str, str]:
        """Certificate, key and the authority that signed the KMEs'."""
        folder = self.lab.identity(holder)
        return str(folder / "cert.pem"), str(folder / "key.pem"), str(folder / "ca.pem")

    def keys(self, number: int, size: int = 256) -> list[dict[str, str]]:
        """New keys of sae-a for sae-b, who has not fetched them yet."""
        with self.session("sae-a") as master:
            wanted = {"number": number, "size": size}
            return master.post(f"{self.url('kme-a')}/api/v1/keys/sae-b/enc_keys", json=wanted).json()["keys"]

    def stored_key_count(self) -> int:
        """Keys that sae-a can take for sae-b."""
        with self.session("sae-a") as master:
            return master.get(f"{self.url('kme-a')}/api/v1/keys/sae-b/status").json()["stored_key_count"]

    def session(self, holder: str) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        certificate, key, session.verify = self.files(holder)
        session.cert = certificate, key
        return session

    def connect(self, holder: str, kme: str) -> Connection:
        address = urlsplit(self.url(kme))
        plain = socket.create_connection((address.hostname, address.port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(self.context(holder).wrap_socket(plain, server_hostname="localhost"))

    def context(self, holder: str) -> ssl.SSLContext:
        if holder not in self._contexts:
            self._contexts[holder] = client_context(Credentials.in_folder(self.lab.identity(holder)))
        return self._contexts[holder]

    def ask(self, holder: str, kme: str, request: bytes) -> Answer:
        with self.connect(holder, kme) as connection:
            return connection.ask(request)

    def state(self) -> dict[str, Any]:
        """Pools and key account of both KMEs, as their operator sees them."""
        names = ("kme-a", "kme-b")
        found = {name: self._operator.get(f"{self.url(f'{name}.ops')}/v1/status").json() for name in names}
        return {name: {part: status.get(part) for part in ("pools", "account")} for name, status in found.items()}

    def full(self) -> bool:
        pools = [pool for kme in self.state().values() for pool in kme["pools"] or ()]
        return len(pools) == 3 and all(pool["stored_key_count"] == pool["high_watermark"] for pool in pools)


@contextmanager
def process(lab: LabFolder, name: str, stores: Mapping[str, str]) -> Iterator[None]:
    environment = {
        **os.environ,
        **stores,
        "PYTHONPATH": str(CHECKOUT),
        "QKD_PROCESS": name,
        "QKD_TOPOLOGY": str(lab.topology),
        "QKD_ADDRESSES": str(lab.addresses),
        "QKD_PKI": str(lab.pki),
        "QKD_SECRETS": str(lab.secrets(name)),
        "QKD_STATE": str(lab.path),
    }
    with lab.log(name).open("w") as log:
        script = str(Path(__file__).with_name("served_kme.py"))
        started = subprocess.Popen(
            [sys.executable, script], stderr=log, env=environment, cwd=CHECKOUT, start_new_session=True
        )
    try:
        yield
        assert started.poll() is None, lab.log(name).read_text()
    finally:
        os.killpg(started.pid, signal.SIGKILL)  # the server and its worker, without waiting for idle connections
        started.wait()


def wait_for(condition: Callable[[], Any], lab: LabFolder) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        logs = "".join(path.read_text() for path in lab.log("x").parent.glob("*.log"))
        assert time.monotonic() < deadline, f"the KMEs are not ready: {logs}"
        time.sleep(0.1)


def empty_database(dsn: str, name: str) -> str:
    admin = psycopg2.connect(dsn)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    admin.close()
    return psycopg2.extensions.make_dsn(dsn, dbname=name)


def empty_redis(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
