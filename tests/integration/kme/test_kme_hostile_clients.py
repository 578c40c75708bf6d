"""Clients that are slow, silent or too many, at a KME as it is really served: others are answered promptly meanwhile,
and nothing of them stays."""

import contextlib
import json
import resource
import socket
import ssl
import threading
import time

import pytest
from served_kme import LISTENERS, ME, served_kme, who_am_i

from mutual_tls.contexts import Credentials, client_context

ANSWERED_WITHIN_S = 2.0
HANDSHAKE_S, REQUEST_S, MAX_CONNECTIONS = 4.0, 3.0, 1500
MAX_BODY_BYTES = 1 << 20
THREADS_OF_A_LISTENER = 16
POST = b"POST /api/v1/keys/sae-b/enc_keys HTTP/1.1\r\nHost: kme\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """Both ends of thousands of connections are on this host."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.fixture(scope="module")
def kme(tmp_path_factory, postgres_dsn, redis_url):
    settings = {
        "QKD_HANDSHAKE_TIMEOUT_S": str(HANDSHAKE_S),
        "QKD_REQUEST_TIMEOUT_S": str(REQUEST_S),
        "QKD_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
    }
    with served_kme(tmp_path_factory.mktemp("served"), postgres_dsn, redis_url, **settings) as served:
        yield served


def silent(kme, listener):
    """1,000 TCP connections that say nothing."""
    return [kme.dial_plain(listener) for _ in range(1000)]


def half_handshakes(kme, listener):
    """200 clients that send a ClientHello but for its last byte."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client_context(Credentials.in_folder(kme.pki / "sae-a")).wrap_bio(incoming, outgoing, False, "localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    return opened(kme.dial_plain, listener, 200, outgoing.read()[:-1])


def silent_after_the_handshake(kme, listener):
    """As many clients as there are threads, and more, that shake hands and say nothing."""
    return opened(kme.dial, listener, 40, b"")


def half_headers(kme, listener, count=40):
    return opened(kme.dial, listener, count, b"GET / HTTP/1.1\r\nHo")


def half_bodies(kme, listener, count=40):
    return opened(kme.dial, listener, count, POST + b"Content-Length: 1000\r\n\r\n{")


def chunks_without_end(kme, listener, count=40):
    return opened(kme.dial, listener, count, POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")


SHOWN = {"sae": "sae-a", "peer": "kme-b", "qkde": "qkde-a", "ops": "operator"}
BEHAVIOURS = [
    silent,
    half_handshakes,
    silent_after_the_handshake,
    half_headers,
    half_bodies,
    chunks_without_end,
]
# A byte more for those who send slowly, of which there is no end.
DRIP = {half_headers: b"x", half_bodies: b" ", chunks_without_end: b"1\r\n \r\n"}


def opened(dial, listener, count, octets):
    arguments = (listener,) if dial.__name__ == "dial_plain" else (listener, SHOWN[listener])
    found = [dial(*arguments) for _ in range(count)]
    for one in found:
        one.sendall(octets)
    return found


@contextlib.contextmanager
def dripping(connections, octets):
    """Each of them sends `octets` every second, until it is cut off."""
    stop = threading.Event()

    def drip():
        while not stop.wait(1.0 if octets else None):
            for one in connections:
                with contextlib.suppress(OSError):
                    one.sendall(octets)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def served_promptly(kme, kept, seconds):
    """The slowest answer of many to other SAEs, on a kept connection and on new ones."""
    slowest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        for client in (kept, kme.client()):
            started = time.monotonic()
            assert who_am_i(client) == "bystander"
            slowest = max(slowest, time.monotonic() - started)
            if client is not kept:
                client.close()
    return slowest


def eventually(condition, what, within_s=15):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda one: one.__name__)
def test_others_are_answered_within_2_s_whatever_many_clients_do_and_nothing_of_them_stays(kme, behave, figure):
    before, kept = kme.descriptor_count(), kme.client()
    assert who_am_i(kept) == "bystander"
    descriptor = kept.sock.fileno()
    attackers = behave(kme, "sae")
    try:
        with dripping(attackers, DRIP.get(behave, b"")):
            slowest = served_promptly(kme, kept, seconds=2.5)
        assert kme.thread_count() <= THREADS_OF_A_LISTENER * len(LISTENERS) + 8
    finally:
        for one in attackers:
            one.close()
    figure(f"{len(attackers)} clients, {behave.__name__}: others' slowest answer took {slowest:.3f} s")
    assert slowest < ANSWERED_WITHIN_S
    assert kept.sock.fileno() == descriptor and who_am_i(kept) == "bystander"
    kept.close()
    eventually(lambda: kme.descriptor_count() <= before, "its descriptors are given back")


@pytest.mark.parametrize("listener", ["peer", "qkde", "ops"])
@pytest.mark.parametrize("behave", [half_handshakes, half_headers], ids=lambda one: one.__name__)
def test_every_listener_answers_while_clients_of_its_own_are_slow(kme, listener, behave):
    attackers = behave(kme, listener)
    try:
        started = time.monotonic()
        with kme.dial(listener, SHOWN[listener]) as one:
            one.sendall(b"GET /nothing HTTP/1.1\r\nHost: kme\r\n\r\n")
            assert one.recv(1000).split()[1] == b"404"
        assert time.monotonic() - started < ANSWERED_WITHIN_S
    finally:
        for one in attackers:
            one.close()


def end_of(connection, drip=b"", every_s=1.0):
    """What is received until the server ends the connection, and how long that took; `drip` is sent meanwhile."""
    started, received = time.monotonic(), b""
    connection.settimeout(every_s if drip else 15)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while True:
            try:
                if not (part := connection.recv(1 << 16)):
                    break
                received += part
            except TimeoutError:
                assert drip, "the server does not end the connection"
                connection.sendall(drip)
    return received, time.monotonic() - started


@pytest.mark.parametrize("behave", DRIP, ids=lambda one: one.__name__)
def test_a_request_has_one_deadline_however_often_a_byte_of_it_comes(kme, behave):
    with behave(kme, "sae", 1)[0] as one:
        received, took = end_of(one, DRIP[behave], every_s=0.5)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split()[1] == b"408" and b"application/json" in head and b"Connection: close" in head
    assert json.loads(body) == {"message": f"the request did not arrive within {REQUEST_S:g} s"}
    assert took < REQUEST_S + 3


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a handshake"])
def test_a_handshake_has_one_deadline_from_when_the_client_connects(kme, octets):
    with kme.dial_plain() as one:
        one.sendall(octets)
        received, took = end_of(one)
    assert received == b"" and HANDSHAKE_S - 1 < took < HANDSHAKE_S + 3


def test_an_answer_that_nobody_takes_keeps_no_thread(kme):
    deaf = []
    for _ in range(THREADS_OF_A_LISTENER + 4):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        plain.connect(("127.0.0.1", kme.ports["sae"]))
        context = client_context(Credentials.in_folder(kme.pki / "sae-a"))
        one = context.wrap_socket(plain, server_hostname="localhost")
        one.settimeout(0.2)
        with contextlib.suppress(TimeoutError):  # requests without end, of which no answer is read
            while True:
                one.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: kme\r\n\r\n" * 100)
        deaf.append(one)
    kept = kme.client()
    assert served_promptly(kme, kept, seconds=1) < ANSWERED_WITHIN_S
    for one in (kept, *deaf):
        one.close()


def exchange(kme, octets):
    with kme.dial() as one:
        one.sendall(octets)
        received, _ = end_of(one)
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, json.loads(body)


BIG = b"x" * 70_000


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (POST + b"Content-Length: %d\r\n\r\n" % (1 << 50), 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY_BYTES + 1), 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"80000\r\n%s\r\n" % bytes(0x80000) * 3, 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 500 + b"\r\n1\r\n") * 4000, 413),
        (b"GET /" + BIG, 414),
        (b"GET /" + BIG[:5000] + b" HTTP/1.1\r\nHost: kme\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + BIG, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_too_large_is_refused_in_the_standards_form_before_it_has_arrived(kme, octets, status):
    found, head, body = exchange(kme, octets)
    assert (found, set(body)) == (status, {"message"})
    assert b"application/json" in head and b"Connection: close" in head


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: kme\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: 0x5",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding : chunked",
        b" Transfer-Encoding: chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\r\n\tContent-Length: 5",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"Transfer_Encoding: chunked\r\nTransfer-Encoding: identity",
    ],
)
def test_a_request_whose_end_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(kme, fields):
    received = b""
    with kme.dial() as one:
        one.sendall(POST + fields + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
        received, _ = end_of(one)
    assert received.count(b"HTTP/1.1 ") == 1 and received.split()[1] in (b"400", b"501"), received
    assert b"Connection: close" in received


CHUNKS = [b"zz\r\n", b"-1\r\n", b"0x1\r\n{", b"1\r\n{}}", b"1\n{\n0\n\n", b"1\r\n{\r\n0\r\nX : y"]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks_that_are_none_are_refused_and_nothing_after_them_is_read(kme, chunk):
    with kme.dial() as one:
        one.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\n\r\n" + SMUGGLED)
        received, _ = end_of(one)
    assert received.count(b"HTTP/1.1 ") == 1 and received.split()[1] == b"400", received


def test_a_client_that_waits_for_100_continue_gets_it_and_then_one_answer(kme):
    with kme.dial() as one:
        one.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert one.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(b"{}")
        assert one.recv(10_000).startswith(b"HTTP/1.1 40")


def test_requests_that_come_together_are_answered_in_their_order_on_one_connection(kme):
    with kme.dial() as one:
        one.sendall(f"GET {ME} HTTP/1.1\r\nHost: kme\r\n\r\n".encode() * 3 + SMUGGLED)
        received = b""
        while received.count(b"HTTP/1.1 ") < 4 and (part := one.recv(10_000)):
            received += part
    assert [part.split()[0] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"404"]


def test_where_a_listener_is_full_whoever_has_most_connections_loses_one_and_others_are_served(kme):
    before, kept = kme.descriptor_count(), kme.client()
    assert who_am_i(kept) == "bystander"
    attackers = [kme.dial_plain() for _ in range(MAX_CONNECTIONS + 200)]
    try:
        assert served_promptly(kme, kept, seconds=1) < ANSWERED_WITHIN_S
        assert kme.descriptor_count() <= before + MAX_CONNECTIONS + 10
        oldest, youngest = attackers[0], attackers[-1]
        assert oldest.recv(1) == b"", "the oldest is closed first"
        youngest.settimeout(0.1)
        with pytest.raises(TimeoutError):
            youngest.recv(1)
        kept.close()
    finally:
        for one in attackers:
            one.close()
    eventually(lambda: kme.descriptor_count() <= before, "its descriptors are given back")


def test_after_all_that_the_same_worker_serves_and_has_failed_in_nothing(kme):
    one = kme.client()
    assert who_am_i(one) == "bystander"
    one.close()
    assert "Traceback" not in kme.log.read_text()
