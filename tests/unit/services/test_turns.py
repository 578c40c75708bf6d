"""A real server with two workers: connections that come at once are shared out among them, and processors."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mutual_tls.contexts import Credentials, client_context
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load
from services import turns
from services.listeners import Server
from services.turns import Turns

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
AT_ONCE = 32
SERVER = """
    import os, sys
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    from pathlib import Path
    from mutual_tls.app import answer, listener_app
    from mutual_tls.contexts import Credentials
    from services.listeners import Listener, Server

    folder = Path(sys.argv[1]) / "kme-a"

    def app():
        app = listener_app("any", lambda caller: True)
        app.get("/worker")(lambda: answer({"worker": os.getpid()}))
        return app

    listeners = [Listener("kme", (f"127.0.0.1:{sys.argv[2]}",), folder / "trust" / "kme.pem", app)]
    Server("kme-a", Credentials.in_folder(folder), listeners, threads=2, workers=2).run()
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture
def server(pki):
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SERVER), str(pki), str(port)], cwd=CHECKOUT)
    try:
        until_s = time.monotonic() + 20
        while len(set(workers_of(pki, ("127.0.0.1", port), 4))) < 2:
            assert process.poll() is None and time.monotonic() < until_s, "two workers do not serve"
            time.sleep(0.05)
        yield psutil.Process(process.pid), ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture
def address(server):
    return server[1]


def workers_of(pki, address, count):
    """Who answers on each of so many connections that are there before the first one is spoken on."""
    context = client_context(Credentials.in_folder(pki / "kme-b"))
    opened = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection(address, timeout=20))
        for at, one in enumerate(opened):
            opened[at] = context.wrap_socket(one, server_hostname="kme-a")
        return [asked(one) for one in opened]
    except (ConnectionRefusedError, ConnectionResetError, ssl.SSLError):
        return []
    finally:
        for one in opened:
            one.close()


def asked(connection) -> str:
    connection.sendall(b"GET /worker HTTP/1.1\r\nHost: kme-a\r\n\r\n")
    octets = b""
    while not octets.endswith(b"}"):
        octets += connection.recv(4096)
    return octets.rpartition(b":")[2].decode()


def test_what_comes_at_once_is_shared_out_among_the_workers(pki, address):
    for _ in range(3):
        counts = Counter(workers_of(pki, address, AT_ONCE))
        assert counts.total() == AT_ONCE
        assert len(counts) == 2 and min(counts.values()) >= AT_ONCE / 4


def places(server) -> dict[int, set[tuple[int, ...]]]:
    """Of each worker: where its threads may run."""
    return {
        worker.pid: {tuple(os.sched_getaffinity(thread.id)) for thread in worker.threads()}
        for worker in server.children()
    }


def test_each_worker_stays_on_a_processor_and_who_comes_after_it_on_the_same(pki, server):
    process, address = server
    usable = process.cpu_affinity()
    first, second = ({(one,)} for one in (usable[0], usable[-1]))  # the same where the machine has one
    before = places(process)  # after the handshakes by which the fixture has seen that both serve
    assert [before[pid] for pid in sorted(before)] == [first, second]
    gone = min(before)
    os.kill(gone, signal.SIGKILL)
    until_s = time.monotonic() + 20
    while len(answering := set(workers_of(pki, address, 8))) < 2 or str(gone) in answering:
        assert time.monotonic() < until_s, "no worker has come after the one that was killed"
    after = places(process)
    assert [after[pid] for pid in sorted(after)] == [second, first]
    assert process.cpu_affinity() == usable, "the master was moved"


def slept(monkeypatch, shared, worker) -> bool:
    waits = []
    monkeypatch.setattr(turns.time, "sleep", waits.append)
    shared.wait(worker)
    return bool(waits)


def test_only_who_has_more_than_another_waits(monkeypatch):
    shared = Turns()
    shared.says(1, 3)
    assert not slept(monkeypatch, shared, 1)  # it is alone
    shared.says(2, 3)
    assert not slept(monkeypatch, shared, 1) and not slept(monkeypatch, shared, 2)
    shared.says(2, 2)
    assert slept(monkeypatch, shared, 1) and not slept(monkeypatch, shared, 2)
    shared.left(2)
    assert not slept(monkeypatch, shared, 1)


def test_a_place_is_of_one_worker_for_as_long_as_it_lives_however_often_others_are_replaced(monkeypatch):
    shared = Turns()
    kept = shared.free([])
    shared.says(kept, 3)
    for _ in range(2 * turns.MOST_WORKERS):
        other = shared.free([kept])
        assert other != kept
        shared.says(other, 0)
        assert slept(monkeypatch, shared, kept)
        shared.left(other)
    assert not slept(monkeypatch, shared, kept)
    assert shared.free(range(turns.MOST_WORKERS)) == turns.MOST_WORKERS - 1


def test_the_master_gives_a_worker_a_place_that_none_of_those_that_live_has():
    """In `_place`, before the fork; the worker's object is the one that the master has when it ends."""
    server = SimpleNamespace(_turns=Turns())
    given = []
    for _ in range(3):
        worker = SimpleNamespace(place=0, processor=None)
        Server._place(server, SimpleNamespace(num_workers=3, WORKERS=dict(enumerate(given))), worker)
        given.append(worker)
    assert [worker.place for worker in given] == [0, 1, 2]
    del given[1]
    Server._place(server, SimpleNamespace(num_workers=3, WORKERS=dict(enumerate(given))), worker := SimpleNamespace())
    assert worker.place == 1
