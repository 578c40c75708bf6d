"""Where a request ends, however its octets come."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import listeners
from services.arriving import HEAD_BYTES, Arriving, Unacceptable
from services.limits import Limits

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\n%s\r\n\r\n"
WHOLE = [
    GET,
    POST % b"Content-Length: 5" + b"hello",
    POST % b"content-length:0",
    POST % b"Transfer-Encoding: chunked" + b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    POST % b"Transfer-Encoding: chunked" + b"0\r\nX: y\r\n\r\n",
]


def taken(arriving):
    found = []
    while (request := arriving.take()) is not None:
        found.append(request)
    return found


@given(requests=st.lists(st.sampled_from(WHOLE), min_size=1, max_size=4), cuts=st.lists(st.integers(0, 300)))
def test_requests_are_taken_one_by_one_wherever_their_octets_are_cut(requests, cuts):
    octets, arriving, found = b"".join(requests), Arriving(100), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    for start, end in zip(edges, edges[1:], strict=False):
        arriving.octets += octets[start:end]
        found += taken(arriving)
    assert found == requests and not arriving.octets


@pytest.mark.parametrize("whole", WHOLE)
def test_a_request_is_not_taken_before_its_last_octet(whole):
    arriving = Arriving(100)
    for octet in whole[:-1]:
        arriving.octets.append(octet)
        assert arriving.take() is None
    arriving.octets += whole[-1:]
    assert arriving.take() == whole


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (POST % b"Content-Length: 101", 413),
        (POST % b"Transfer-Encoding: chunked" + b"65\r\n", 413),
        (POST % b"Transfer-Encoding: chunked" + b"33\r\n%s\r\n" % bytes(51) * 2, 413),
        (b"GET /" + b"x" * HEAD_BYTES, 414),
        (b"GET / HTTP/1.1\r\n" + b"x" * HEAD_BYTES, 431),
    ],
)
def test_what_will_be_too_large_is_refused_before_it_is_there(octets, status):
    arriving = Arriving(100)
    arriving.octets += octets
    with pytest.raises(Unacceptable) as refused:
        arriving.take()
    assert refused.value.status == status


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: two",
        b"Content-Length: -1",
        b"Transfer-Encoding: qkd",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
    ],
)
def test_nobody_waits_for_a_body_whose_length_gunicorn_refuses(field):
    arriving = Arriving(100)
    arriving.octets += POST % field + b"{}"
    assert arriving.take() == POST % field


@pytest.mark.parametrize("coding", [b"CHUNKED", b"gzip, chunked", b"gzip\r\nTransfer-Encoding: chunked"])
def test_chunks_end_a_body_in_whatever_it_is_coded(coding):
    whole = POST % (b"Transfer-Encoding: " + coding) + b"1\r\n!\r\n0\r\n\r\n"
    arriving = Arriving(100)
    arriving.octets += whole + GET
    assert taken(arriving) == [whole, GET]


def test_a_client_that_waits_for_continue_each_time_is_told_each_time():
    arriving, body = Arriving(100), b"{}"
    for _ in range(2):
        arriving.octets += POST % b"Expect: 100-continue\r\nContent-Length: 2"
        assert arriving.take() is None and arriving.waits_for_continue
        arriving.octets += body
        assert arriving.take().endswith(body)


CHUNKED = POST % b"Transfer-Encoding: chunked"


@given(octets=st.binary(max_size=300) | st.binary(max_size=100).map(lambda one: CHUNKED + one))
def test_whatever_comes_is_taken_refused_or_waited_for(octets):
    arriving = Arriving(100)
    arriving.octets += octets
    try:
        found = taken(arriving)
    except Unacceptable:
        return
    assert b"".join(found) + arriving.octets == octets


def test_a_listener_has_as_many_connections_as_the_process_may_have_descriptors(monkeypatch):
    allowed = {"soft": 64, "hard": 1256}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed["soft"], allowed["hard"]))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: allowed.update(soft=pair[0]))
    assert listeners.within_descriptors(Limits(), 4).connection_count == 250
    assert allowed == {"soft": 1256, "hard": 1256}
    assert listeners.within_descriptors(Limits(connection_count=10), 4).connection_count == 10
