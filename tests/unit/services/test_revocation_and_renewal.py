"""Certificates that are revoked or renewed while processes run: real TLS, two workers, connections that stay open."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutual_tls.client import Peer, Refused, Unreachable
from mutual_tls.contexts import CredentialError, Credentials, client_context
from mutual_tls.identity import Identity
from qkd_lab.pki.holders import sae_client
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
WITHIN_S = 5.0
SERVER = """
    import logging, sys
    from pathlib import Path
    from flask import g
    from kme.errors import NotEntitled
    from kme.web.certificates import info_routes
    from kme.web.sae import sae_app
    from mutual_tls.app import answer, listener_app, operator_app
    from mutual_tls.contexts import Credentials
    from services.listeners import Listener, Server

    logging.basicConfig()
    pki, peer_port, ops_port, sae_port = Path(sys.argv[1]), *sys.argv[2:5]

    def admit(sae_id):
        if sae_id not in ("sae-a", "7", "42"):
            raise NotEntitled(f"SAE {sae_id} is not registered at this KME")

    def registered(issuer, serial_number):
        return "42" if (issuer, serial_number) == ("CN=sae-a authority,O=QKD lab (a simulator)", 0x1001) else None

    def peer_app():
        app = listener_app("peer", lambda caller: caller.role == "kme")
        app.get("/v1/whoami")(lambda: answer({"id": g.caller.id}))
        return app

    folder = pki / "kme-a"
    Server(
        "kme-a",
        Credentials.in_folder(folder),
        [
            Listener("peer", (f"127.0.0.1:{peer_port}",), folder / "trust" / "kme.pem", peer_app),
            Listener("ops", (f"127.0.0.1:{ops_port}",), folder / "trust" / "operator.pem", lambda: operator_app("ops")),
            Listener(
                "sae", (f"127.0.0.1:{sae_port}",), folder / "trust" / "sae-a.pem",
                lambda: sae_app(None, registered=registered, doors=[info_routes("kme-a", admit)]),
            ),
        ],
        threads=4,
        workers=2,
    ).run()
"""


def eventually(condition, what, within_s=WITHIN_S):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "lab"
    Pki(folder / "pki", datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture
def pki(made, tmp_path) -> Pki:
    shutil.copytree(made, tmp_path / "lab")
    return Pki(tmp_path / "lab" / "pki", datetime.now(UTC))


@pytest.fixture
def server(pki, tmp_path):
    """Ports of the listeners `peer`, `ops` and `sae` of KME a, and the file it logs to."""
    ports = dict(zip(("peer", "ops", "sae"), free_ports(3), strict=True))
    log = tmp_path / "server.log"
    with log.open("w") as file:
        program = [sys.executable, "-c", textwrap.dedent(SERVER), str(pki.folder), *map(str, ports.values())]
        process = subprocess.Popen(program, stderr=file, cwd=CHECKOUT)
    try:
        for port in ports.values():
            eventually(lambda port=port: answers(port) or process.poll() is not None, "the server listens", 20)
        assert process.poll() is None, log.read_text()
        yield {**ports, "log": log, "pid": process.pid}
    finally:
        close_what_was_opened()
        process.terminate()
        process.wait(10)


def answers(port) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


OPENED: list = []


def close_what_was_opened():
    while OPENED:
        OPENED.pop().close()


def peer(pki, port, shown="kme-b", expected="kme-a") -> Peer:
    made = Peer(f"127.0.0.1:{port}", Identity("kme", expected), Credentials.in_folder(pki.folder / shown), timeout_s=5)
    OPENED.append(made)
    return made


class Connection(http.client.HTTPSConnection):
    """One connection, kept open; `resume` is a session of another."""

    def __init__(self, pki, port, shown="kme-b", version=None, resume=None, context=None):
        self.tls = context or client_context(Credentials.in_folder(pki.folder / shown))
        if version:
            self.tls.minimum_version = self.tls.maximum_version = version
        self.resume = resume
        super().__init__("127.0.0.1", port, timeout=5, context=self.tls)
        OPENED.append(self)

    def connect(self):
        plain = socket.create_connection((self.host, self.port), 5)
        try:
            self.sock = self.tls.wrap_socket(plain, server_hostname="localhost", session=self.resume)
        except OSError:
            plain.close()
            raise

    def ask(self, path="/v1/whoami"):
        self.request("GET", path)
        answer = self.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers


def handshake_refused(pki, port, shown="kme-b") -> str:
    """What a new connection with a full handshake is told; empty where it is served."""
    connection = Connection(pki, port, shown)
    try:
        connection.ask()
    except (ssl.SSLError, ConnectionError) as error:
        return str(error)
    finally:
        connection.close()
    return ""


@contextmanager
def shown_serial(port, pki):
    """The serial number of the certificate that the server shows on a new connection."""
    context = client_context(Credentials.in_folder(pki.folder / "kme-b"))
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        yield int(tls.getpeercert()["serialNumber"], 16)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_revoked_caller_is_refused_within_5_s_on_connections_that_are_open_and_on_new_ones(pki, server, version):
    opened = [Connection(pki, server["peer"], version=version) for _ in range(6)]  # both workers have some
    assert all(one.ask()[0] == 200 for one in opened)
    spared = Connection(pki, server["peer"], "kme-b-scheduler")
    assert spared.ask()[0] == 200

    pki.revoke("kme-b")
    revoked_at = time.monotonic()
    for one in opened:
        status, body, headers = eventually(lambda one=one: refused_at(one), "an open connection is refused")
        assert (status, body) == (401, {"message": "the caller's certificate was revoked"})
        assert headers["Connection"] == "close" and "application/json" in headers["Content-Type"]
        assert one.sock is None, "the connection stays open"
    in_force_everywhere(server)
    assert time.monotonic() - revoked_at < WITHIN_S
    assert "CERTIFICATE_REVOKED" in handshake_refused(pki, server["peer"])
    assert spared.ask()[0] == 200 and handshake_refused(pki, server["peer"], "kme-b-scheduler") == ""


def in_force_everywhere(server):
    """Waits until both workers have the list in which the first certificate of the KMEs' authority is revoked."""
    line = "WARNING:mutual_tls.revocation:kme.pem: number 2, 1 revoked"
    eventually(lambda: server["log"].read_text().count(line) == 2, "both workers have the new list")


def refused_at(connection):
    found = connection.ask()
    return found if found[0] != 200 else None


def test_a_resumed_session_does_not_get_around_its_revocation(pki, server):
    first = Connection(pki, server["peer"])
    assert first.ask()[0] == 200
    session = first.sock.session
    resumed = Connection(pki, server["peer"], context=first.tls, resume=session)
    assert resumed.ask()[0] == 200 and resumed.sock.session_reused
    pki.revoke("kme-b")
    in_force_everywhere(server)
    again = Connection(pki, server["peer"], context=first.tls, resume=session)
    try:
        status, *_ = again.ask()
    except (ssl.SSLError, ConnectionError):
        return
    assert status == 401


def test_a_client_refuses_a_server_whose_certificate_was_revoked(pki, server):
    caller = peer(pki, server["peer"])
    assert caller.request("GET", "/v1/whoami").json == {"id": "kme-b"}
    pki.revoke("kme-a")

    def refusal():
        try:
            caller.request("GET", "/v1/whoami")
        except Unreachable as error:
            return str(error)

    assert "its certificate was revoked" in eventually(refusal, "the client refuses")
    with pytest.raises(Unreachable, match="its certificate was revoked"):
        peer(pki, server["peer"], "kme-b-scheduler").request("GET", "/v1/whoami")


def health(probe) -> str:
    try:
        probe.request("GET", "/healthz")
    except Refused as refused:
        assert refused.status == 503
        return refused.message
    return ""


def test_a_list_that_cannot_be_used_is_said_in_words_and_the_last_good_one_stays(pki, server):
    file = pki.lists / "kme.pem"
    pki.revoke("kme-b")
    in_force_everywhere(server)
    probe = peer(pki, server["ops"], "probe")
    assert health(probe) == ""
    file.write_bytes(b"-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n")
    assert "no certificate revocation list" in eventually(lambda: health(probe), "the fault is said")
    assert "no certificate revocation list" in server["log"].read_text()
    assert "REVOKED" in handshake_refused(pki, server["peer"])
    assert handshake_refused(pki, server["peer"], "kme-b-scheduler") == ""
    pki.make(load(SHIPPED / "two-sites.toml"))  # publishes the authority's own record again
    eventually(lambda: health(probe) == "", "it is well again")


def test_a_process_does_not_start_where_it_cannot_tell_what_is_revoked(pki):
    (pki.lists / "kme.pem").unlink()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(pki.folder), "0", "0", "0"],
        stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0 and "listener peer: the revocation list" in done.stderr
    with pytest.raises(CredentialError, match="revocation list .*qkd-lab pki init"):
        peer(pki, 1)


def test_a_renewed_certificate_is_shown_without_a_restart_and_nobody_is_cut_off(pki, server):
    context = client_context(Credentials.in_folder(pki.folder / "kme-b"))
    old = Connection(pki, server["peer"], context=context)
    assert old.ask()[0] == 200
    descriptor = old.sock.fileno()
    pki.renew("kme-a")
    new_serial = next(one.serial_number for one in pki.list() if one.name == "kme-a")

    def renewed():
        with shown_serial(server["peer"], pki) as serial:
            return serial == new_serial

    for _ in range(8):  # both workers
        eventually(renewed, "the new certificate is shown")
    assert old.ask()[0] == 200 and old.sock.fileno() == descriptor
    resumed = Connection(pki, server["peer"], context=context, resume=old.sock.session)
    assert resumed.ask()[0] == 200 and resumed.sock.session_reused, "a ticket from before the renewal is no good"


def test_a_client_shows_its_renewed_certificate_on_its_next_connection_and_loses_no_call(pki, server):
    caller = peer(pki, server["peer"])
    assert caller.request("GET", "/v1/whoami").status == 200
    _, old_serial = pki.renew("kme-b")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert caller.request("GET", "/v1/whoami").status == 200
    pki.revoke_serial(old_serial, "kme")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert caller.request("GET", "/v1/whoami").status == 200


def test_a_certificate_without_its_key_leaves_the_one_before_in_use_and_is_said(pki, server):
    with shown_serial(server["peer"], pki) as before:
        pass
    key = pki.folder / "kme-a" / "key.pem"
    kept, probe = key.read_bytes(), peer(pki, server["ops"], "probe")
    key.write_bytes((pki.folder / "kme-b" / "key.pem").read_bytes())
    assert "the renewed certificate can't be used" in eventually(lambda: health(probe), "the fault is said")
    with shown_serial(server["peer"], pki) as serial:
        assert serial == before
    key.write_bytes(kept)
    eventually(lambda: health(probe) == "", "it is well again")


ME = "/api/v1/sae/info/me"


def test_an_sae_asks_who_it_is_by_whatever_its_certificate_has(pki, server):
    by_number = replace(sae_client("whoever", "a", "serial"), serial_number=0x1001)
    unknown = replace(sae_client("nobody", "a", "serial"), serial_number=0x1002)
    for holder in (sae_client("7", "a", "cn"), sae_client("stranger", "a"), by_number, unknown):
        pki.issue(holder)
    for shown, sae_id in (("sae-a", "sae-a"), ("7", "7"), ("whoever", "42")):
        assert Connection(pki, server["sae"], shown).ask(ME)[:2] == (200, {"SAE_ID": sae_id, "KME_ID": "kme-a"})
    status, body, _ = Connection(pki, server["sae"], "stranger").ask(ME)
    assert (status, body) == (404, {"message": "SAE stranger is not registered at this KME"})
    status, body, _ = Connection(pki, server["sae"], "nobody").ask(ME)
    assert status == 401 and "serial number 1002 is not registered" in body["message"]


def test_a_certificate_known_by_its_serial_number_is_revoked_like_any_other(pki, server):
    pki.issue(replace(sae_client("whoever", "a", "serial"), serial_number=0x1001))
    opened = Connection(pki, server["sae"], "whoever")
    assert opened.ask(ME)[0] == 200
    pki.revoke("whoever")
    assert eventually(lambda: opened.ask(ME)[0] == 401, "it is refused")


def test_no_certificate_of_another_authority_counts_by_its_common_name_or_serial_number(pki, server):
    for shown in ("sae-b", "kme-b", "operator"):
        assert handshake_refused(pki, server["sae"], shown)
