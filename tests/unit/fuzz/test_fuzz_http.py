"""Octets on a TLS connection to a real listener: every answer is an HTTP answer and none is a server error; and a
request that is one is answered after them all."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutual_tls.contexts import Credentials, client_context
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports
from malformed import FUZZ, strange_octets

CHECKOUT = Path(__file__).resolve().parents[3]
SERVER = """
    import sys
    from pathlib import Path
    from kme.model import Connection, PoolStatus
    from kme.web.sae import sae_app
    from mutual_tls.contexts import Credentials
    from services.limits import Limits
    from services.listeners import Listener, Server

    class Delivery:
        def status(self, caller, slave):
            return PoolStatus(Connection("kme-a", "kme-b", caller, slave), 1)

        def enc_keys(self, *_):
            return []

        dec_keys = enc_keys

    folder, port = Path(sys.argv[1]), sys.argv[2]
    listener = Listener("sae", (f"127.0.0.1:{port}",), folder / "trust" / "sae-a.pem", lambda: sae_app(Delivery()))
    Server("kme-a", Credentials.in_folder(folder), [listener], threads=4, limits=Limits(request_s=1.0)).run()
"""
STATUS = b"GET /api/v1/keys/sae-b/status HTTP/1.1\r\nHost: kme\r\n\r\n"
BODY = b'{"number": 3, "size": 256}'
POST = b"POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: kme\r\nContent-Type: application/json\r\n"
WITH_LENGTH = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\nX: y\r\n\r\n" % (
    BODY[:9],
    len(BODY) - 9,
    BODY[9:],
)
VALID = [STATUS, WITH_LENGTH, CHUNKED, STATUS + CHUNKED + STATUS]
HEADERS = [
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: +5",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Host: ",
    b"Host: [",
    b"Host: a\r\nHost: b",
    b"Expect: 100-continue",
    b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA",
    b"Range: bytes=0-1",
    b"Content-Type: multipart/form-data",
    b"Content-Encoding: gzip",
    b"X-HTTP-Method-Override: DELETE",
    b"\xff: \xff",
    b"Cookie: \x00",
    b"Authorization: Basic \xff",
    b" folded: x",
    b"A:\tb\r\n c",
]
TARGETS = [
    b"http://[/",
    b"//",
    b"*",
    b"/api/v1/keys/%",
    b"/api/v1/keys/%ff/status",
    b"/\xff",
    b"/api/v1/keys/a/enc_keys?size=\xff",
    b"/api/v1/keys/a/enc_keys?number=%ff",
    b"/?" + b"a&" * 3000,
    b"kme:8000",
    b"/api/v1/keys/\xc3\xa4/status",
    b"/..%2f..",
]
CHUNKS = [
    b"zz\r\nabc",
    b"-1\r\n",
    b"ffffffffffffffffffff\r\n",
    b"5\r\nab",
    b"5\r\nabcdefghij\r\n0\r\n\r\n",
    b"5;" + b"x" * 9000 + b"\r\n",
    b"\r\n\r\n",
    b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"5 \r\nabcde\r\n0\r\n\r\n",
    b"0x5\r\nabcde\r\n0\r\n\r\n",
    b"1_0\r\n",
    b"0\r\n",
]
UNFINISHED = (b"5\r\nab", b"0\r\n")  # of these
ANYTHING = (
    st.sampled_from(VALID).flatmap(strange_octets)
    | st.tuples(st.sampled_from(HEADERS), st.sampled_from(HEADERS)).map(
        lambda two: POST + b"\r\n".join((*two, b"", BODY))
    )
    | st.sampled_from(CHUNKS).map(lambda chunk: POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    | st.binary(max_size=200)
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its port, a TLS context of an SAE, and the log."""
    folder = tmp_path_factory.mktemp("http")
    Pki(folder / "pki", datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    (port,) = free_ports(1)
    log = folder / "log"
    with log.open("w") as file:
        arguments = [str(folder / "pki" / "kme-a"), str(port)]
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVER), *arguments], stderr=file, cwd=CHECKOUT
        )
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
    context = client_context(Credentials.in_folder(folder / "pki" / "sae-a"))
    yield port, context, log
    process.terminate()
    assert process.wait(10) == 0


def answers(port: int, context: ssl.SSLContext, octets: bytes, *, half_close: bool = True) -> bytes:
    """All that comes for the octets until the server closes, or, with `half_close`, has seen that nothing follows."""
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="localhost"
    ) as tls:
        received = b""
        with contextlib.suppress(OSError):
            tls.sendall(octets)
            if half_close:
                socket.socket.shutdown(tls, socket.SHUT_WR)
            while part := tls.recv(1 << 16):
                received += part
    return received


def codes(received: bytes) -> list[int]:
    """The status of each answer; what is not an HTTP answer fails."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        version, code, *_ = head.split(b" ", 2)
        assert version == b"HTTP/1.1", received[:200]
        found.append(int(code))
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body, received = (rest[: (end := int(lengths[0][15:]))], rest[end:]) if lengths else (b"", rest)
        if found[-1] >= 400 and body:
            assert json.loads(body)["message"]
    return found


@settings(FUZZ, max_examples=max(100, FUZZ.max_examples // 2))
@given(octets=ANYTHING)
def test_no_octets_are_a_server_error(tried, server, octets):
    port, context, log = server
    for code in codes(answers(port, context, octets)):
        assert code != 501 or b"ransfer" in octets
        tried.status(code)


TRICKS = [POST + header + b"\r\n\r\n" + BODY for header in HEADERS] + [
    b"GET " + target + b" HTTP/1.1\r\nHost: kme\r\n\r\n" for target in TARGETS
]


@pytest.mark.parametrize("octets", TRICKS)
def test_no_known_trick_is_a_server_error(tried, server, octets):
    port, context, _ = server
    for code in codes(answers(port, context, octets)):
        tried.status(code)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks_that_are_none_or_unfinished_get_one_refusal_and_the_end_of_the_connection(tried, server, chunk):
    port, context, _ = server
    octets = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    expected = 408 if chunk in UNFINISHED else 400
    assert [tried.status(code) for code in codes(answers(port, context, octets, half_close=False))] == [expected]


def test_requests_side_by_side_on_one_connection_are_answered_in_their_order(server):
    port, context, _ = server
    assert codes(answers(port, context, STATUS + WITH_LENGTH + CHUNKED + b"nonsense\r\n\r\n")) == [200, 200, 200, 400]


@settings(FUZZ, max_examples=40)
@given(octets=st.binary(min_size=1, max_size=300))
def test_octets_that_are_no_tls_end_the_connection_and_nothing_else(tried, server, octets):
    port, context, _ = server
    with socket.create_connection(("127.0.0.1", port), timeout=15) as plain, contextlib.suppress(ConnectionError):
        plain.sendall(octets)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(1 << 16):
            pass
    tried.refused()


@pytest.mark.parametrize("octets", [STATUS[:20], WITH_LENGTH[:-3], CHUNKED[:-3], POST])
def test_a_request_that_stops_half_way_is_cut_off_and_takes_no_thread_for_long(tried, server, octets):
    port, context, log = server
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), timeout=15), server_hostname="localhost"
    ) as tls:
        tls.sendall(octets)
        started = time.monotonic()
        received = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # but no timeout
            while part := tls.recv(1 << 16):
                received += part
    assert time.monotonic() - started < 10
    for code in codes(received):
        tried.status(code)


def test_after_all_that_a_request_is_answered_and_nothing_failed(tried, server):
    port, context, log = server
    assert codes(answers(port, context, STATUS)) == [200]
    text = log.read_text()
    failed = [
        line
        for line in text.splitlines()
        if "internal error" in line or " failed: " in line and "TLS handshake" not in line
    ]
    assert not failed and "Traceback" not in text, failed[:3] or text[-2000:]
