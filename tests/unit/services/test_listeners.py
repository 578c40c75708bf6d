"""A real server process with two listeners, spoken to over real TLS."""

import contextlib
import json
import logging
import select
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutual_tls.client import Peer, Refused, Unreachable
from mutual_tls.contexts import CredentialError, Credentials, client_context, refuse_weak, server_context
from mutual_tls.identity import Identity
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load
from services.listeners import Listener, Server

from detours import Proxy
from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
THREADS = 4
SERVER = """
    THREADS = 4
    import sys, threading
    from pathlib import Path
    from flask import g, request
    from mutual_tls.app import answer, listener_app, operator_app
    from mutual_tls.contexts import Credentials
    from services.limits import Limits
    from services.listeners import Listener, Server

    pki, peer_port, ops_port = Path(sys.argv[1]), *sys.argv[2:4]

    def peer_app():
        app = listener_app("peer", lambda caller: caller.role == "kme", max_body_bytes=1 << 22)

        @app.route("/v1/whoami", methods=["GET", "PUT"])
        def whoami():
            return answer({"role": g.caller.role, "id": g.caller.id})

        @app.get("/v1/fails")
        def fails():
            raise RuntimeError("secret 0123456789abcdef")

        return app

    folder = pki / "kme-a"
    Server(
        "kme-a",
        Credentials.in_folder(folder),
        [
            Listener("peer", (f"127.0.0.1:{peer_port}",), folder / "trust" / "kme.pem", peer_app),
            Listener("ops", (f"127.0.0.1:{ops_port}",), folder / "trust" / "operator.pem", lambda: operator_app("ops")),
        ],
        threads=THREADS,
        limits=Limits(request_s=2.0),
        background=lambda stopping: stopping.wait(),
    ).run()
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture(scope="module")
def server(pki, tmp_path_factory):
    """Ports of the listeners `peer` and `ops`, and the file the server logs to."""
    ports = dict(zip(("peer", "ops"), free_ports(2), strict=True))
    log = tmp_path_factory.mktemp("log") / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVER), str(pki), *map(str, ports.values())],
            stderr=file,
            cwd=CHECKOUT,
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            for port in ports.values():
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, log.read_text()
    yield {**ports, "log": log}
    process.terminate()
    assert process.wait(10) == 0


def peer(pki, port, shown, expected=("kme", "kme-a")) -> Peer:
    return Peer(f"127.0.0.1:{port}", Identity(*expected), Credentials.in_folder(pki / shown), timeout_s=5)


def test_the_caller_is_who_its_certificate_says(pki, server):
    reply = peer(pki, server["peer"], "kme-b").request("GET", "/v1/whoami")
    assert reply.json == {"role": "kme", "id": "kme-b"}


def test_a_certificate_of_one_authority_is_not_let_in_at_the_listener_for_another(pki, server):
    strangers = {"peer": ["operator", "sae-a", "qkde-a"], "ops": ["kme-b", "sae-a", "qkde-a"]}
    for shown, listener in [(name, listener) for listener, names in strangers.items() for name in names]:
        with pytest.raises(Unreachable):
            peer(pki, server[listener], shown).request("GET", "/healthz")


def test_a_client_without_a_certificate_is_not_let_in(pki, server):
    context = ssl.create_default_context(cafile=pki / "kme-b" / "ca.pem")
    with (
        socket.create_connection(("127.0.0.1", server["peer"])) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        if not connection.recv(100):  # TLS 1.3: the refusal comes after the handshake
            raise ConnectionError


def test_a_server_that_is_somebody_else_is_named(pki, server):
    with pytest.raises(Unreachable, match="it is kme kme-a, expected kme kme-b"):
        peer(pki, server["peer"], "kme-b", ("kme", "kme-b")).request("GET", "/v1/whoami")


def test_a_server_of_an_unknown_authority_is_named(pki, server):
    with pytest.raises(Unreachable, match="certificate was not accepted"):
        peer(pki, server["peer"], "sae-a-app").request("GET", "/v1/whoami")


def test_nobody_listening_is_said_in_words():
    (closed,) = free_ports(1)
    with pytest.raises(CredentialError, match="missing"):
        Peer(f"127.0.0.1:{closed}", Identity("kme", "x"), Credentials.in_folder(Path("/nowhere")))


def test_an_address_where_nothing_listens_is_said_in_words(pki):
    (port,) = free_ports(1)
    with pytest.raises(Unreachable, match="nothing listens"):
        peer(pki, port, "kme-b").request("GET", "/v1/whoami")


def test_a_connection_that_was_idle_for_long_is_not_used_again_since_it_may_be_dead(pki, server, monkeypatch):
    proxy = Proxy(lambda: ("127.0.0.1", server["peer"]), seed=1)
    client = peer(pki, proxy.port, "kme-b")
    client.request("GET", "/v1/whoami")
    proxy.set("half-open")
    proxy.set("pass")  # what was open stays dead
    monkeypatch.setattr("mutual_tls.client.REUSED_WITHIN_S", 0.0)
    assert client.request("GET", "/v1/whoami", timeout_s=1).json["id"] == "kme-b"
    client.close()
    proxy.close()


def test_calls_that_follow_each_other_share_a_connection(pki, server, caplog):
    client = peer(pki, server["peer"], "kme-b")
    with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
        for _ in range(3):
            client.request("GET", "/v1/whoami")
    assert len([one for one in caplog.messages if "new HTTPS connection" in one or "Resetting" in one]) == 1
    client.close()


def test_the_probe_may_ask_for_health_and_nothing_else(pki, server):
    probe = peer(pki, server["ops"], "probe")
    assert probe.request("GET", "/healthz").json == {"status": "ok"}
    with pytest.raises(Refused, match="/healthz, /readyz only"):
        probe.request("GET", "/v1/status")


def test_a_refusal_is_read_even_by_a_caller_with_a_large_body(pki, server):
    with pytest.raises(Refused) as refusal:
        peer(pki, server["peer"], "kme-b").request("PUT", "/nothing/here", octets=bytes(2 << 20))
    assert refusal.value.status == 404


def test_an_unexpected_error_says_nothing_of_what_it_worked_on(pki, server):
    with pytest.raises(Refused) as refusal:
        peer(pki, server["peer"], "kme-b").request("GET", "/v1/fails")
    assert (refusal.value.status, refusal.value.message) == (500, "kme kme-a: internal error")
    log = server["log"].read_text()
    assert "RuntimeError" in log and "0123456789abcdef" not in log


def silent_before_tls(pki, port):
    return socket.create_connection(("127.0.0.1", port))


def silent_after_tls(pki, port):
    context = client_context(Credentials.in_folder(pki / "kme-b"))
    return context.wrap_socket(silent_before_tls(pki, port), server_hostname="localhost")


def half_a_request(pki, port):
    connection = silent_after_tls(pki, port)
    connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHo")
    return connection


@pytest.mark.parametrize("behave", [silent_before_tls, silent_after_tls])
def test_more_silent_clients_than_threads_hold_up_nobody(pki, server, behave):
    silent = [behave(pki, server["peer"]) for _ in range(THREADS + 2)]
    try:
        started = time.monotonic()
        assert peer(pki, server["peer"], "kme-b").request("GET", "/v1/whoami").status == 200
        assert time.monotonic() - started < 2
    finally:
        for connection in silent:
            connection.close()


def test_clients_that_stop_within_a_request_hold_up_no_other_listener(pki, server):
    stuck = [half_a_request(pki, server["peer"]) for _ in range(THREADS + 2)]
    try:
        started = time.monotonic()
        assert peer(pki, server["ops"], "probe").request("GET", "/healthz").status == 200
        assert time.monotonic() - started < 2
    finally:
        for connection in stuck:
            connection.close()


def test_a_request_that_does_not_arrive_in_time_is_cut_off(pki, server):
    with half_a_request(pki, server["peer"]) as stuck:
        stuck.settimeout(30)
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while stuck.recv(100):
                pass
        assert 1 < time.monotonic() - started < 10  # the server of these tests gives a request 2 s


def test_the_end_of_a_connection_can_be_told_from_a_cut(pki, server):
    context = client_context(Credentials.in_folder(pki / "kme-b"))
    plain = silent_before_tls(pki, server["peer"])
    with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as connection:
        connection.settimeout(30)
        connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while octets := connection.recv(1000):  # raises where the end comes without `close_notify`
            answer += octets
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70000 + b"\r\n\r\n", b"431"),
        (b"get / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_http_request_is_refused_with_a_json_body(pki, server, sent, status):
    with silent_after_tls(pki, server["peer"]) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(10000):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == status and b"application/json" in head
    assert json.loads(body)["message"].startswith("the request can't be read")


@pytest.mark.parametrize(
    "body", [b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n", b"Content-Length: 100\r\n\r\nhalf of it"]
)
def test_a_body_that_does_not_arrive_whole_is_refused_with_a_json_body(pki, server, body):
    with silent_after_tls(pki, server["peer"]) as connection:
        connection.sendall(b"PUT /v1/nothing HTTP/1.1\r\nHost: kme\r\n" + body)
        head, _, body = connection.recv(10000).partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"404", b"408") and b"application/json" in head and json.loads(body)["message"]


def test_a_rejected_handshake_is_logged_with_its_cause(pki, server):
    with pytest.raises(Unreachable):
        peer(pki, server["peer"], "operator").request("GET", "/v1/whoami")
    line, deadline = "listener peer: TLS handshake with 127.0.0.1 failed", time.monotonic() + 10
    while line not in server["log"].read_text():  # written after the client was told
        assert time.monotonic() < deadline


def test_a_client_that_still_sends_is_told_why_its_certificate_is_not_accepted(pki, server):
    with (
        socket.create_connection(("127.0.0.1", server["peer"])) as plain,
        client_context(Credentials.in_folder(pki / "operator")).wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        # TLS 1.3: the client believes the handshake done. The refusal is there, and the client goes on sending.
        assert select.select([tls], [], [], 5)[0]
        for _ in range(2000):
            tls.sendall(b"PUT /v1/whoami HTTP/1.1\r\n")
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            tls.recv(1)


def test_a_listener_refuses_to_trust_two_authorities(pki, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join((pki / "kme-a" / "trust" / f"{name}.pem").read_bytes() for name in ("kme", "operator")))
    with pytest.raises(CredentialError, match="exactly one authority, found 2"):
        server_context(Credentials.in_folder(pki / "kme-a"), both)


def test_a_spoofed_header_does_not_change_who_calls(pki, server):
    session = peer(pki, server["peer"], "kme-b")._session
    headers = {"X-Forwarded-Client-Cert": "urn:qkd:kme:kme-a", "qkd.caller": "kme-a", "Qkd-Certificate": "x"}
    answer = session.get(f"https://127.0.0.1:{server['peer']}/v1/whoami", headers=headers)
    assert json.loads(answer.content)["id"] == "kme-b"


def weakened(change):
    def make(credentials, callers):
        context = server_context(credentials, callers)
        change(context)
        return context

    return make


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda context: setattr(context, "verify_mode", ssl.CERT_OPTIONAL), "verify_mode is CERT_OPTIONAL"),
        (lambda context: setattr(context, "verify_mode", ssl.CERT_NONE), "verify_mode is CERT_NONE"),
        (lambda context: setattr(context, "minimum_version", ssl.TLSVersion.TLSv1_1), "minimum_version is TLSv1_1"),
        (
            lambda context: setattr(context, "minimum_version", ssl.TLSVersion.MINIMUM_SUPPORTED),
            "minimum_version is MINIMUM_SUPPORTED",
        ),
        (lambda context: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_1), "maximum_version is TLSv1_1"),
        (lambda context: context.load_default_certs(), "authorities, expected one"),
        (lambda context: context.set_ciphers("ALL:NULL:@SECLEVEL=0"), "ciphers"),
        (
            lambda context: setattr(context, "verify_flags", context.verify_flags | ssl.VERIFY_ALLOW_PROXY_CERTS),
            "proxy certificates",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_does_not_start_with_tls_weaker_than_required_client_certificates(pki, monkeypatch, change, words):
    monkeypatch.setattr("mutual_tls.server_tls.server_context", weakened(change))
    folder = pki / "kme-a"
    listener = Listener("peer", ("127.0.0.1:0",), folder / "trust" / "kme.pem", lambda: None)
    with pytest.raises(CredentialError, match=f"listener peer: TLS is weaker than it must be: .*{words}"):
        Server("kme-a", Credentials.in_folder(folder), [listener], threads=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_context_that_trusts_nobody_or_is_a_clients_is_refused(pki):
    for protocol, words in (
        (ssl.PROTOCOL_TLS_SERVER, "trusts 0 authorities"),
        (ssl.PROTOCOL_TLS_CLIENT, "no server's"),
    ):
        context = ssl.SSLContext(protocol)
        with pytest.raises(CredentialError, match=words):
            refuse_weak(context, "peer")


def test_a_server_does_not_start_without_its_authority_or_without_revocation_lists(pki, tmp_path):
    folder = pki / "kme-a"
    credentials = Credentials.in_folder(folder)
    for shown, callers, words in (
        (credentials, folder / "trust" / "nobody.pem", "nobody.pem is missing"),
        (replace(credentials, revocations=None), folder / "trust" / "kme.pem", "no folder of revocation lists"),
        (replace(credentials, revocations=tmp_path), folder / "trust" / "kme.pem", "the revocation list .*kme.pem"),
    ):
        with pytest.raises(CredentialError, match=words):
            Server("kme-a", shown, [Listener("peer", ("127.0.0.1:0",), callers, lambda: None)], threads=1)
