"""The address book, and ports that are taken."""

import socket

import pytest

from qkd_lab import addresses
from qkd_lab.embedded.ports import Ports
from qkd_lab.topology import SHIPPED, load

TWO_SITES = load(SHIPPED / "two-sites.toml")


@pytest.fixture
def ports():
    held = Ports()
    yield held
    held.close()


def free_run(count):
    """A port with `count` - 1 free ones after it."""
    for start in range(20000, 30000, count):
        probes = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", start + number))
            return start
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free ports")


def test_each_listener_of_the_protocol_table_has_an_address():
    book = addresses.embedded(TWO_SITES, lambda wanted, known: wanted)
    assert book["kme-a"] == {
        "sae": "127.0.0.1:8000",
        "peer": "127.0.0.1:10000",
        "qkde": "127.0.0.1:10100",
        "ops": "127.0.0.1:9000",
    }
    assert {name: set(listeners) for name, listeners in book.items() if "-b" not in name or "-a-b" in name} == {
        "kme-a": {"sae", "peer", "qkde", "ops"},
        "kme-a-scheduler": {"ops"},
        "qkde-a": {"kme", "classical", "ops"},
        "qlink-a-b": {"qkd", "ops"},
        "sae-a": {"app", "ops"},
        "postgres-a": {"sql"},
        "redis-a": {"redis"},
        "dashboard": {"page", "ops"},
    }
    assert book["kme-b"]["sae"] == "127.0.0.1:8001" and book["sae-b"]["app"] == "127.0.0.1:8101"


@pytest.mark.parametrize("make", [lambda t: addresses.embedded(t, lambda wanted, _: wanted), addresses.compose])
def test_no_two_listeners_share_an_address(make):
    book = make(load(SHIPPED / "three-sites.toml"))
    flat = [address for listeners in book.values() for address in listeners.values()]
    assert len(flat) == len(set(flat))


def test_the_endpoints_are_those_a_client_on_the_host_may_call():
    urls = addresses.endpoints(TWO_SITES, addresses.published(TWO_SITES))
    assert urls["kme-a"] == "https://127.0.0.1:8000"
    assert urls["sae-a"] == "https://127.0.0.1:8100"
    assert urls["kme-a.ops"] == "https://127.0.0.1:9000"
    ops = {f"{name}.ops" for name in ("kme-a", "kme-a-scheduler", "qkde-a", "qlink-a-b", "sae-a")}
    assert ops <= set(urls)
    assert not any(name.startswith(("postgres", "redis")) for name in urls)


def test_a_taken_port_gives_the_next_free_one(ports):
    start = free_run(4)
    with socket.socket() as other:
        other.bind(("127.0.0.1", start))
        other.listen()
        assert ports.take(start) == start + 1
        assert ports.take(start) == start + 2


def test_another_lab_finds_a_held_port_taken_before_anything_listens_on_it(ports):
    start = free_run(3)
    assert ports.take(start) == start
    others = Ports()
    assert others.take(start) == start + 1
    others.close()


def test_the_process_a_port_is_held_for_can_listen_on_it(ports):
    start = ports.take(free_run(3))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", start))
        server.listen()
        with socket.create_connection(("127.0.0.1", start), timeout=5):
            pass


def test_a_resumed_lab_has_its_ports_again_though_old_connections_linger(ports):
    start = free_run(3)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", start))
        server.listen()
        client = socket.create_connection(("127.0.0.1", start), timeout=5)
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first is left in TIME_WAIT
        client.recv(1)
        client.close()
    known = {"kme-a": {"sae": f"127.0.0.1:{start}"}}
    book = addresses.embedded(TWO_SITES, lambda p, k: ports.take(p, k) if k else p, known)
    assert book["kme-a"]["sae"] == f"127.0.0.1:{start}"


def test_a_resumed_lab_moves_from_a_port_that_someone_else_listens_on(ports):
    start = free_run(3)
    with socket.socket() as other:
        other.bind(("127.0.0.1", start))
        other.listen()
        assert ports.take(start, known=True) == start + 1
