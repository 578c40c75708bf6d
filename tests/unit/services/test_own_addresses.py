"""Replicas of a process share their names: each listens at, and asks for its own health at, its own addresses alone."""

import socket
import ssl
import threading
from datetime import UTC, datetime

import pytest

from qkd_lab.lab_folder import write_json
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load
from services import healthcheck
from services.own_addresses import own_addresses

ANOTHERS = "192.0.2.7"  # of no host: RFC 5737


@pytest.fixture
def names(monkeypatch):
    """What names lead to; others are unknown."""
    known = {"kme-a.sae": [ANOTHERS, "127.0.0.1"], "kme-a.peer": [ANOTHERS], "127.0.0.1": ["127.0.0.1"]}

    def getaddrinfo(name, port, *_):
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in known[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_of_a_name_that_replicas_share_each_has_its_own_address_alone(names):
    assert own_addresses("kme-a.sae") == ["127.0.0.1"]


@pytest.mark.parametrize(("name", "words"), [("kme-a.peer", ANOTHERS), ("nowhere", "not known")])
def test_a_name_without_an_address_of_this_host_is_refused(names, name, words):
    with pytest.raises(OSError, match=words):
        own_addresses(name)


def test_the_health_check_asks_its_own_container_though_the_name_leads_to_another_first(tmp_path, monkeypatch, names):
    pki = tmp_path / "pki"
    Pki(pki, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "kme-a" / "cert.pem", pki / "kme-a" / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        names["localhost"] = names["kme-a.sae"]
        write_json(tmp_path / "addresses.json", {"kme-a": {"ops": f"localhost:{server.getsockname()[1]}"}}, 0o644)
        for name, value in (("PROCESS", "kme-a"), ("PKI", pki), ("ADDRESSES", tmp_path / "addresses.json")):
            monkeypatch.setenv(f"QKD_{name}", str(value))
        asked = []

        def answer():
            plain, _ = server.accept()
            with context.wrap_socket(plain, server_side=True) as connection:
                asked.append(connection.recv(1000).split(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        healthcheck.main()
        answering.join(10)
    assert asked == [b"GET /healthz HTTP/1.1"]
