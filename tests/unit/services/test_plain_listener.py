"""The one listener without an authority, beside one that has one: for browsers on this host."""

import http.client
import socket
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutual_tls.client import Peer
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

CHECKOUT = Path(__file__).resolve().parents[3]
THREADS = 3
SERVER = f"""
    import sys, threading
    from pathlib import Path
    from flask import Flask, Response, request
    from mutual_tls.app import operator_app
    from mutual_tls.contexts import Credentials
    from services.listeners import Listener, Server

    pki, page_port, ops_port = Path(sys.argv[1]), *sys.argv[2:4]
    over = threading.Event()

    def page_app():
        app = Flask("page")

        @app.get("/scheme")
        def scheme():
            return request.scheme

        @app.get("/stream")
        def stream():
            def ticks():
                while not over.wait(0.05):
                    yield "tick "
            return Response(ticks())

        return app

    def background(stopping):
        stopping.wait()
        over.set()

    folder = pki / "dashboard"
    operators = folder / "trust" / "operator.pem"
    Server(
        "dashboard",
        Credentials.in_folder(folder),
        [
            Listener("page", (f"127.0.0.1:{{page_port}}",), None, page_app),
            Listener("ops", (f"127.0.0.1:{{ops_port}}",), operators, lambda: operator_app("ops")),
        ],
        threads={THREADS},
        background=background,
    ).run()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture
def server(pki):
    """The process and its two ports: the page's and the operators'."""
    ports = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(pki), *map(str, ports)], cwd=CHECKOUT
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None
    yield process, *ports
    process.terminate()
    assert process.wait(20) == 0


def test_a_browser_needs_no_certificate_and_keeps_its_connection(server):
    _, page, _ = server
    browser = http.client.HTTPConnection("127.0.0.1", page, timeout=10)
    for _ in range(3):
        browser.request("GET", "/scheme")
        assert browser.getresponse().read() == b"http"
    browser.close()


def test_the_operators_listener_beside_it_wants_one_as_everywhere(pki, server):
    _, page, ops = server
    browser = http.client.HTTPConnection("127.0.0.1", ops, timeout=10)
    browser.request("GET", "/scheme")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        browser.getresponse()
    browser.close()
    probe = Peer(f"127.0.0.1:{ops}", Identity("operator", "dashboard"), Credentials.in_folder(pki / "probe"))
    assert probe.request("GET", "/healthz").json == {"status": "ok"}
    probe.close()


def test_a_browser_that_has_gone_gives_its_thread_back(server):
    _, page, _ = server
    for _ in range(2 * THREADS):
        browser = http.client.HTTPConnection("127.0.0.1", page, timeout=20)
        browser.request("GET", "/stream")
        answer = browser.getresponse()
        assert answer.read(4) == b"tick"
        answer.close()
        browser.close()


def test_the_process_stops_while_a_browser_listens(server):
    process, page, _ = server
    browser = http.client.HTTPConnection("127.0.0.1", page, timeout=20)
    browser.request("GET", "/stream")
    answer = browser.getresponse()
    assert answer.read(4) == b"tick"
    process.terminate()
    assert process.wait(20) == 0
    answer.close()
    browser.close()
