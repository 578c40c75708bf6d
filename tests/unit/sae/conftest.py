"""A KME that says what a test tells it to, over real mutual TLS, with certificates made for the test."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sae_demo.etsi_client import Etsi014Client


class Pki:
    """Two authorities, `ours` and `foreign`, each of which signs whatever it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authorities = {name: self._make(name, None, (), authority=True) for name in ("ours", "foreign")}

    def authority(self, name: str = "ours") -> Path:
        return self.folder / f"{name}.cert.pem"

    def issue(self, name: str, *urns: str, by: str = "ours") -> tuple[Path, Path]:
        """The paths of a certificate for 127.0.0.1 with these URNs, and of its key."""
        self._make(name, by, urns, authority=False)
        return self.folder / f"{name}.cert.pem", self.folder / f"{name}.key.pem"

    def _make(self, name: str, by: str | None, urns: tuple[str, ...], *, authority: bool) -> tuple[Any, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (subject, key) if by is None else self._authorities[by]
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.UniformResourceIdentifier, urns)]
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(signer, hashes.SHA256())
        )
        pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
        (self.folder / f"{name}.cert.pem").write_bytes(certificate.public_bytes(pem))
        (self.folder / f"{name}.key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password)
        )
        return subject, key


@dataclass
class StubKme:
    """`calls` are the requests that came in; `status`, `body` and `headers` are the answer to all of them."""

    url: str = ""
    calls: list[SimpleNamespace] = field(default_factory=list)
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    missing_bytes: int = 0
    hangs_up: bool = False

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def serve(pki: Pki) -> Iterator[Callable[..., StubKme]]:
    """Starts a stub KME; by default it is KME `kme/a`, and it and its callers are under our authority."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(*urns: str, by: str = "ours", callers: str = "ours") -> StubKme:
        stub = StubKme()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pki.issue(f"kme{len(servers)}", *(urns or ("urn:qkd:kme:kme%2Fa",)), by=by))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki.authority(callers))
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        stub.url = f"https://127.0.0.1:{server.server_port}"
        return stub

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def client_of(pki: Pki) -> Iterator[Callable[..., Etsi014Client]]:
    clients: list[Etsi014Client] = []

    def make(url: str, kme_id: str | None = "kme/a") -> Etsi014Client:
        certificate, key = pki.issue("sae", "urn:qkd:sae:sae-a")
        clients.append(Etsi014Client(url, certificate, key, pki.authority(), kme_id, timeout_s=10))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def kme(serve: Callable[..., StubKme]) -> StubKme:
    return serve()


@pytest.fixture
def client(kme: StubKme, client_of: Callable[..., Etsi014Client]) -> Etsi014Client:
    return client_of(kme.url)


def _handler(stub: StubKme) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            shown = int(self.connection.getpeercert()["serialNumber"], 16)
            call = SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body, shown=shown)
            stub.calls.append(call)
            if stub.hangs_up:
                self.close_connection = True
                return
            self.send_response(stub.status)
            for name, value in stub.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(stub.body) + stub.missing_bytes))
            self.end_headers()
            self.wfile.write(stub.body)
            self.close_connection = bool(stub.missing_bytes)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            """Tests need no access log."""

    return Handler
