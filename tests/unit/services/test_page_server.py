"""The page's server: for browsers, whose streams of events stay open."""

import http.client
import threading

import pytest
from flask import Flask, Response, request

from services import page_server
from services.page_server import PageServer

from free_ports import free_ports


def page_app() -> Flask:
    app = Flask("page")

    @app.post("/echo")
    def echo():
        return request.get_data()

    @app.get("/stream")
    def stream():
        def ticks():
            while True:
                yield "tick "
                threading.Event().wait(0.02)

        return Response(ticks())

    return app


@pytest.fixture
def address(monkeypatch):
    """Host and port of a server that has room for three."""
    monkeypatch.setattr(page_server, "MAX_CONNECTIONS", 3)
    host, (port,) = "127.0.0.1", free_ports(1)
    server, stopping = PageServer((f"{host}:{port}",), page_app), threading.Event()
    assert server.fault() == "the page is not served yet"
    serving = threading.Thread(target=server.run, args=(stopping,))
    serving.start()
    assert server._serving.wait(10) and server.fault() is None
    yield host, port
    stopping.set()
    serving.join(10)
    assert not serving.is_alive(), "it does not wait for browsers that listen"


def listening(address) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    browser = http.client.HTTPConnection(*address, timeout=10)
    browser.request("GET", "/stream")
    answer = browser.getresponse()
    assert answer.read(4) == b"tick"
    return browser, answer


def test_a_request_gets_its_answer(address):
    browser = http.client.HTTPConnection(*address, timeout=10)
    for body in (b"one", b"", "\xe4".encode()):
        browser.request("POST", "/echo", body)
        assert browser.getresponse().read() == body
    browser.close()


def test_events_come_while_their_stream_goes_on(address):
    browser, answer = listening(address)
    assert answer.read(50).count(b"tick") >= 9
    answer.close()
    browser.close()


def test_who_comes_when_all_threads_are_busy_is_let_go_and_may_come_again(address):
    streams = [listening(address) for _ in range(3)]
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        listening(address)
    browser, answer = streams.pop()
    answer.close()
    browser.close()
    for _ in range(200):  # the thread notices at its next tick that its browser has gone
        try:
            streams.append(listening(address))
            break
        except (http.client.HTTPException, ConnectionError):
            threading.Event().wait(0.02)
    assert len(streams) == 3
    for browser, answer in streams:
        answer.close()
        browser.close()
