"""TLS sessions are resumed across workers, and a resumed one gets nothing that a new one would not get."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutual_tls.contexts import Credentials, client_context
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
READY_WITHIN_S = 20
SERVER = """
    import os, sys
    from pathlib import Path
    from flask import g
    from mutual_tls.app import answer, listener_app
    from mutual_tls.contexts import Credentials
    from services.listeners import Listener, Server

    folder, ports = Path(sys.argv[1]) / "kme-a", dict(zip(("kme", "qkd"), sys.argv[2:]))

    def app():
        app = listener_app("any", lambda caller: True)
        app.get("/who")(lambda: answer({"caller": str(g.caller), "worker": os.getpid()}))
        return app

    listeners = [
        Listener(name, (f"127.0.0.1:{port}",), folder / "trust" / f"{name}.pem", app) for name, port in ports.items()
    ]
    Server("kme-a", Credentials.in_folder(folder), listeners, threads=2, workers=2).run()
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture(scope="module")
def ports(pki):
    """Of a server with two workers, by the authority of its callers."""
    found = dict(zip(("kme", "qkd"), free_ports(2), strict=True))
    program = [sys.executable, "-c", textwrap.dedent(SERVER), str(pki), *map(str, found.values())]
    process = subprocess.Popen(program, cwd=CHECKOUT)
    try:
        wait_for(lambda: process.poll() is not None or all(map(answers, found.values())))
        yield found
    finally:
        process.terminate()
        process.wait(15)


def answers(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition):
    deadline = time.monotonic() + READY_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def context_of(pki, shown, version):
    context = client_context(Credentials.in_folder(pki / shown))
    context.minimum_version = context.maximum_version = version
    return context


def ask(context, port, session=None):
    """Caller and worker as the server says, the session, and whether it was resumed, on a connection of its own."""
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(b"GET /who HTTP/1.1\r\nHost: kme\r\n\r\n")
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        return body["caller"], body["worker"], tls.session, tls.session_reused


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_that_one_worker_began_is_resumed_by_the_other(pki, ports, version):
    context = context_of(pki, "kme-b", version)
    _, first, session, _ = ask(context, ports["kme"])
    os.kill(first, signal.SIGSTOP)  # of two that are idle, the same one may accept again and again
    try:
        caller, other, _, was_resumed = ask(context, ports["kme"], session)
    finally:
        os.kill(first, signal.SIGCONT)
    assert was_resumed and caller == "kme kme-b" and other != first


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_is_no_good_at_a_listener_for_another_role(pki, ports, version):
    """The KMEs' listener has never seen a certificate of whoever shows this ticket."""
    context = context_of(pki, "qkde-a", version)
    _, _, session, _ = ask(context, ports["qkd"])
    assert ask(context, ports["qkd"], session)[3]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(context, ports["kme"], session)


def test_a_resumed_session_is_whose_certificate_began_it(pki, ports):
    """What is shown is not looked at then: a ticket is of the certificate that the server has verified."""
    context = context_of(pki, "kme-b", TLS_1_3)
    _, _, session, _ = ask(context, ports["kme"])
    other = Credentials.in_folder(pki / "kme-b-scheduler")
    context.load_cert_chain(other.certificate, other.key)
    caller, _, _, was_resumed = ask(context, ports["kme"], session)
    assert was_resumed and caller == "kme kme-b"
