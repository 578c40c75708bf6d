"""Faults on purpose, as a client meets them: a server process with two workers, spoken to over real TLS."""

import socket
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutual_tls.client import Peer, Refused, Unreachable
from mutual_tls.contexts import Credentials, client_context
from mutual_tls.identity import Identity
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
KEYS = "/api/v1/keys/sae-b"
DELIVERED = b'{"keys":[{"key_ID":"00000000-0000-0000-0000-000000000000","key":"AAAAAAAAAAAAAAAAAAAAAA=="}]}'
ENC_KEYS = f"GET {KEYS}/enc_keys HTTP/1.1\r\nHost: kme\r\n\r\n".encode()
SERVER = """
    import sys
    from pathlib import Path
    from uuid import UUID
    from kme.faults import FaultKnobs, Faults
    from kme.model import Connection, Key, PoolStatus
    from kme.web.faults import PoolsOrEmpty, fault_routes, make_faults
    from kme.web.operator import health_app
    from kme.web.sae import sae_app
    from mutual_tls.contexts import Credentials
    from services.listeners import Listener, Server

    folder, sae_port, ops_port, delivered = Path(sys.argv[1]), *sys.argv[2:4], Path(sys.argv[4])

    class Delivery:
        "Notes in a file, before it answers, what it has delivered."

        def status(self, caller, slave):
            return PoolStatus(Connection("kme-a", "kme-b", caller, slave), 7)

        def enc_keys(self, caller, slave, request, is_there):
            with delivered.open("a") as file:
                file.write(f"{caller} {request.number}\\n")
            return [Key(UUID(int=number).bytes, bytes(16)) for number in range(request.number)]

        def dec_keys(self, caller, master, key_ids):
            return [Key(key_id, bytes(16)) for key_id in key_ids]

    knobs = FaultKnobs(Faults())

    def sae():
        return make_faults(sae_app(PoolsOrEmpty(Delivery(), knobs)), knobs, lambda environ: environ["gunicorn.socket"])

    def ops():
        app = health_app("ops", lambda: None)
        app.register_blueprint(fault_routes(knobs))
        return app

    Server(
        "kme-a",
        Credentials.in_folder(folder),
        [
            Listener("sae", (f"127.0.0.1:{sae_port}",), folder / "trust" / "sae-a.pem", sae),
            Listener("ops", (f"127.0.0.1:{ops_port}",), folder / "trust" / "operator.pem", ops),
        ],
        threads=2,
        workers=2,
    ).run()
"""


class Kme:
    """The server, its operator and an SAE."""

    def __init__(self, pki: Path, sae_port: int, ops_port: int, delivered: Path) -> None:
        self.sae_port = sae_port
        self._pki = pki
        self._delivered = delivered
        self.operator = self._peer("operator", ops_port)
        self.sae = self._peer("sae-a", sae_port)

    def _peer(self, shown: str, port: int) -> Peer:
        return Peer(f"127.0.0.1:{port}", Identity("kme", "kme-a"), Credentials.in_folder(self._pki / shown))

    def set(self, **faults) -> None:
        self.operator.request("PUT", "/v1/faults", json=faults)

    def get(self, method: str = "enc_keys", **query):
        """By a connection of its own, so that either worker may answer."""
        peer = self._peer("sae-a", self.sae_port)
        try:
            return peer.request("GET", f"{KEYS}/{method}", params=query)
        finally:
            peer.close()

    def delivered_count(self) -> int:
        return len(self._delivered.read_text().splitlines()) if self._delivered.exists() else 0

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.sae_port), timeout=10)
        context = client_context(Credentials.in_folder(self._pki / "sae-a"))
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    pki = folder / "pki"
    Pki(pki, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    ports = free_ports(2)
    with (folder / "log").open("w") as log:
        arguments = [str(pki / "kme-a"), *map(str, ports), str(folder / "delivered")]
        server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SERVER), *arguments], stderr=log, cwd=CHECKOUT)
    kme = Kme(pki, *ports, folder / "delivered")
    deadline = time.monotonic() + 20
    while True:
        try:
            kme.operator.request("GET", "/healthz")
            break
        except Unreachable:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
    yield kme, folder / "log"
    server.terminate()
    assert server.wait(10) == 0


@pytest.fixture
def kme(running):
    """With all knobs off."""
    running[0].set()
    return running[0]


def refused(call, *arguments) -> Refused:
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    return refusal.value


def test_without_a_fault_every_request_is_answered_once(kme):
    assert not any(kme.operator.request("GET", "/v1/faults").json.values())
    assert {kme.get().status for _ in range(10)} == {200}
    with kme.connect() as connection:
        for _ in range(3):
            connection.sendall(ENC_KEYS)
            assert connection.recv(1 << 16).count(b"HTTP/1.1 200") == 1


def test_what_is_refused_on_purpose_is_a_503_that_delivered_nothing_at_every_worker(kme):
    kme.set(refuse_percentage=100)
    before = kme.delivered_count()
    for _ in range(10):
        assert refused(kme.get).status == 503
    assert refused(kme.get, "status").status == 503
    assert kme.delivered_count() == before


def test_a_percentage_hits_some_requests_and_not_others(kme):
    kme.set(refuse_percentage=50)
    statuses = set()
    for _ in range(60):  # all alike: once in 2^59 runs
        try:
            statuses.add(kme.get("status").status)
        except Refused as refusal:
            statuses.add(refusal.status)
    assert statuses == {200, 503}


def test_a_delayed_answer_comes_late(kme):
    kme.set(delay_s=0.5)
    started = time.monotonic()
    assert kme.get().status == 200
    assert time.monotonic() - started >= 0.5


def test_a_client_that_does_not_wait_for_a_delayed_answer_has_lost_its_keys(kme):
    assert kme.sae.request("GET", f"{KEYS}/status").status == 200  # its connection is open
    kme.set(delay_s=3)
    before = kme.delivered_count()
    with pytest.raises(Unreachable, match="no answer in time"):
        kme.sae.request("GET", f"{KEYS}/enc_keys", timeout_s=1)
    assert kme.delivered_count() == before + 1


@pytest.mark.parametrize("method", ["enc_keys", "dec_keys"])
def test_the_connection_ends_without_a_single_octet_after_a_delivery(kme, method):
    kme.set(drop_after_delivery_percentage=100)
    query = "?key_ID=123e4567-e89b-42d3-a456-426614174000" if method == "dec_keys" else ""
    before = kme.delivered_count()
    with kme.connect() as connection:
        connection.sendall(ENC_KEYS.replace(b"enc_keys", f"{method}{query}".encode()))
        try:
            assert connection.recv(1 << 16) == b""
        except OSError as error:
            assert not isinstance(error, TimeoutError)
    assert kme.delivered_count() == before + (method == "enc_keys")
    with pytest.raises(Unreachable):
        kme.get(method, **({"key_ID": "123e4567-e89b-42d3-a456-426614174000"} if query else {}))


def test_answers_that_deliver_nothing_are_not_dropped(kme):
    kme.set(drop_after_delivery_percentage=100)
    assert kme.get("status").status == 200
    assert refused(lambda: kme.get(number="x")).status == 400


def test_a_duplicate_reply_is_the_same_octets_twice_and_the_connection_stays(kme):
    kme.set(duplicate_reply_percentage=100)
    before = kme.delivered_count()
    with kme.connect() as connection:
        for _ in range(2):
            connection.sendall(ENC_KEYS)
            octets = b""
            while octets.count(b"}]}") < 2:
                octets += connection.recv(1 << 16)
            assert len(octets) % 2 == 0 and octets[: len(octets) // 2] == octets[len(octets) // 2 :]
            assert octets.startswith(b"HTTP/1.1 200 ") and octets.endswith(DELIVERED)
    assert kme.delivered_count() == before + 2


def test_an_exhausted_pool_has_no_key_for_masters_and_those_of_slaves_are_still_there(kme):
    kme.set(empty_pools=True)
    before = kme.delivered_count()
    refusal = refused(lambda: kme.get(number=3))
    assert refusal.status == 503 and "too few keys: 3 asked for, 0 available" in refusal.message
    assert kme.get("status").json["stored_key_count"] == 0
    assert refused(lambda: kme.get(number=100_000)).status == 400
    assert kme.get("dec_keys", key_ID="123e4567-e89b-42d3-a456-426614174000").status == 200
    assert kme.delivered_count() == before
    kme.set()
    assert kme.get("status").json["stored_key_count"] == 7


def test_a_caller_who_is_not_admitted_learns_nothing_of_faults(kme):
    kme.set(refuse_percentage=100)
    with pytest.raises(Unreachable):
        kme._peer("sae-b", kme.sae_port).request("GET", f"{KEYS}/status")
    assert kme.sae.request("GET", "/api/v1/openapi.json").status == 200  # and no fault is made of what is no key


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"refuse_percentage": 101}, "refuse_percentage: expected a number in 0..100"),
        ({"refuse_percentage": -1}, "refuse_percentage"),
        ({"refuse_percentage": True}, "refuse_percentage"),
        ({"drop_after_delivery_percentage": "5"}, "drop_after_delivery_percentage"),
        ({"delay_s": 61}, "delay_s: expected a number in 0..60"),
        ({"empty_pools": 1}, "empty_pools: expected true or false"),
        ({"refuse": 5}, "no fault knob refuse"),
    ],
)
def test_a_knob_that_can_not_be_is_refused_and_nothing_changes(kme, wanted, words):
    kme.set(delay_s=0.25)
    refusal = refused(lambda: kme.set(**wanted, duplicate_reply_percentage=5))
    assert refusal.status == 400 and words in refusal.message
    assert {n: v for n, v in kme.operator.request("GET", "/v1/faults").json.items() if v} == {"delay_s": 0.25}


def test_every_change_is_in_the_log(kme, running):
    kme.set(duplicate_reply_percentage=12.5, empty_pools=True)
    kme.set()
    log = running[1].read_text()
    assert "faults on purpose from now on: duplicate_reply_percentage 12.5, empty_pools True" in log
    assert "faults on purpose from now on: none" in log


def test_the_probe_can_not_set_a_knob(kme):
    port = int(kme.operator.address.rpartition(":")[2])
    assert refused(kme._peer("probe", port).request, "PUT", "/v1/faults").status == 401
