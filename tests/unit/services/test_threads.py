"""The threads of a listener: who has a connection, and for whom another waits."""

from __future__ import annotations

import select
import socket
import threading

import pytest

from services.connections import ListenerConnection
from services.threads import ListenerThreads

WITHIN_S = 10


class Epoll:
    """A real one, in which connections that are `slow` begin to wait when they may."""

    def __init__(self):
        self._real = select.epoll()
        self.slow: dict[int, threading.Event] = {}
        self.entered = threading.Event()
        self.refused: int | None = None

    def register(self, descriptor, events):
        self._real.register(descriptor, events)

    def poll(self, **arguments):
        return self._real.poll(**arguments)

    def modify(self, descriptor, events):
        if descriptor == self.refused:
            raise OSError
        if descriptor in self.slow:
            self.entered.set()
            assert self.slow[descriptor].wait(WITHIN_S)
        self._real.modify(descriptor, events)


class Conn:
    """One that tells when it goes on, and waits again."""

    def __init__(self):
        self.begins_to_wait = threading.Lock()
        self.waits_for = 0
        self.client, self.sock = socket.socketpair()
        self.descriptor = self.sock.fileno()
        self.has_gone_on = threading.Semaphore(0)
        self.is_over = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def go_on(self, time_is_up):
        octets = self.sock.recv(100)
        self.has_gone_on.release()
        assert self.may_end.wait(WITHIN_S)
        return 0 if b"that was all" in octets else select.EPOLLIN

    def is_served(self) -> bool:
        self.client.send(b"x")
        return self.has_gone_on.acquire(timeout=WITHIN_S)


@pytest.fixture
def epoll(monkeypatch):
    one = Epoll()
    monkeypatch.setattr("services.threads.select.epoll", lambda: one)
    return one


@pytest.fixture
def threads(epoll):
    return ListenerThreads("sae", 2, lambda: None, lambda conn: conn.is_over.set())


@pytest.fixture
def conns(epoll, threads):
    made = [Conn(), Conn()]
    for one in made:
        threads.add(one)
    yield made
    for may in epoll.slow.values():
        may.set()
    for one in made:
        one.client.send(b"that was all")
        assert one.is_over.wait(WITHIN_S)
        one.client.close()
        one.sock.close()


def begins_to_wait_slowly(epoll, conn) -> threading.Event:
    """A thread of the listener has served it, and is about to tell `epoll`. What lets it."""
    may = epoll.slow[conn.descriptor] = threading.Event()
    assert conn.is_served() and epoll.entered.wait(WITHIN_S)
    return may


def test_a_connection_that_begins_to_wait_holds_up_no_other(epoll, threads, conns):
    may = begins_to_wait_slowly(epoll, conns[0])
    assert all(conns[1].is_served() for _ in range(3))
    may.set()
    assert conns[0].is_served()


def test_a_connection_is_taken_only_when_epoll_has_heard_of_it(epoll, threads, conns):
    may = begins_to_wait_slowly(epoll, conns[0])
    taken = []
    taker = threading.Thread(target=lambda: taken.append(threads.take(conns[0])))
    taker.start()
    taker.join(0.1)
    assert taker.is_alive() and not taken
    may.set()
    taker.join(WITHIN_S)
    assert taken == [True]
    conns[0].client.send(b"x")
    threads.go_on(conns[0])


def test_a_connection_is_closed_only_when_epoll_has_heard_of_it():
    """An event that was there before may have given it to another thread, for which it was over."""
    client, sock = socket.socketpair()
    conn = ListenerConnection.__new__(ListenerConnection)
    conn.sock, conn.begins_to_wait, conn._life = sock, threading.Lock(), iter_of_nothing()
    with client, sock:
        with conn.begins_to_wait:
            closer = threading.Thread(target=conn.close)
            closer.start()
            closer.join(0.1)
            assert closer.is_alive() and sock.fileno() >= 0
        closer.join(WITHIN_S)
        assert sock.fileno() == -1


def iter_of_nothing():
    yield from ()


def test_no_thread_ends_where_epoll_refuses_a_connection(epoll, threads, conns, caplog):
    refused = Conn()
    threads.add(refused)
    epoll.refused = refused.descriptor
    for _ in range(2):  # as many as there are threads
        assert refused.is_served() and refused.is_over.wait(WITHIN_S)
        refused.is_over.clear()
        epoll.refused = None
        threads._epoll._real.unregister(refused.descriptor)
        threads.add(refused)
        epoll.refused = refused.descriptor
    assert all(one.is_served() for one in conns)
    assert refused.is_served() and refused.is_over.wait(WITHIN_S) and refused not in threads.waiting()
    assert "a connection failed" in caplog.text
    refused.client.close()
    refused.sock.close()


def test_one_that_a_thread_has_is_nobody_elses(threads, conns):
    conns[0].may_end.clear()
    assert conns[0].is_served()
    assert threads.waiting() == [conns[1]] and not threads.take(conns[0])
    conns[0].may_end.set()


def test_one_that_was_taken_is_no_threads_until_it_waits_again(threads, conns):
    assert threads.take(conns[0]) and not threads.take(conns[0])
    assert threads.waiting() == [conns[1]]
    conns[0].client.send(b"x")  # an event for a connection that is the main thread's
    assert conns[1].is_served() and not conns[0].has_gone_on.acquire(blocking=False)
    threads.go_on(conns[0])
    assert conns[0].has_gone_on.acquire(timeout=WITHIN_S) and conns[0].is_served()
