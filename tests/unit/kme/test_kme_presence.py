"""Whether a caller is still there, over real TLS connections."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime

import pytest

from kme.web.presence import has_gone, presence
from mutual_tls.contexts import Credentials, client_context, server_context
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def joined(request, pki):
    """A server's and a client's end of one connection, after a request of the client has been read."""
    folder = pki / "kme-a"
    server_side = server_context(Credentials.in_folder(folder), folder / "trust" / "kme.pem")
    client_side = client_context(Credentials.in_folder(pki / "kme-b"))
    client_side.maximum_version = request.param
    near, far = socket.socketpair()
    found = []
    thread = threading.Thread(target=lambda: found.append(server_side.wrap_socket(near, server_side=True)))
    thread.start()
    client = client_side.wrap_socket(far, server_hostname="localhost")
    thread.join()
    (server,) = found
    client.sendall(b"POST / HTTP/1.1\r\n\r\n")
    assert server.recv(100)
    yield server, client
    server.close()
    client.close()


def test_a_caller_that_waits_is_there(joined):
    server, _ = joined
    assert not has_gone(server) and presence({"gunicorn.socket": server})()


def test_a_caller_that_sent_its_next_request_is_there_and_nothing_of_it_is_lost(joined):
    server, client = joined
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert not has_gone(server)
    assert server.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_caller_whose_process_has_ended_is_gone(joined):
    server, client = joined
    socket.socket(fileno=client.detach()).close()
    assert has_gone(server) and not presence({"gunicorn.socket": server})()


def test_a_caller_that_has_ended_its_tls_session_is_gone(joined):
    server, client = joined
    client.settimeout(0.2)
    with pytest.raises((TimeoutError, OSError)):  # it says goodbye, and waits for an answer in vain
        client.unwrap()
    assert has_gone(server)


def test_a_connection_that_is_closed_here_is_gone(joined):
    server, _ = joined
    server.close()
    assert has_gone(server)


def test_without_a_servers_socket_the_caller_is_taken_to_be_there():
    assert presence({})()
