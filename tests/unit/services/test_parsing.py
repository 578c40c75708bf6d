"""A head that comes again is not parsed again, and means what it meant."""

import pytest
from gunicorn.config import Config
from gunicorn.http import Request, RequestParser
from gunicorn.http.errors import ParseException
from hypothesis import given
from hypothesis import strategies as st

from services.connections import RequestSocket
from services.parsing import RememberingParser

CFG = Config()
GET = b"GET /keys?number=1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\n\r\n"
POST = b"POST /keys HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
REQUESTS = [
    GET % 1,
    GET % 2,
    POST + b"hello",
    POST + b"world",
    b"\r\n" + POST + b"after",  # an empty line before it, which is no part of the head that came before
    b"POST /keys HTTP/1.1\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /keys HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]


def source():
    return RequestSocket.__new__(RequestSocket)


def read(parser, octets, reads_body):
    """What gunicorn and the application see of a request."""
    parser.unreader.sock.begin(octets)
    try:
        request = next(parser)
    except ParseException as error:
        return type(error)
    except StopIteration:
        return None
    body = request.body.read() if reads_body else None
    seen = {name: value for name, value in vars(request).items() if name not in ("body", "unreader", "req_number")}
    request.headers += [("CHANGED", "by an application")]
    request.force_close()
    parser.mesg.must_close = False  # a connection ends with such an answer; here it goes on
    return seen | {"headers": list(request.headers[:-1]), "body": body}


@given(requests=st.lists(st.tuples(st.sampled_from(REQUESTS), st.booleans()), min_size=1, max_size=8))
def test_each_request_is_read_as_by_a_parser_that_remembers_nothing(requests):
    remembering = RememberingParser(CFG, source(), ("127.0.0.1", 1))
    for octets, reads_body in requests:
        expected = read(RequestParser(CFG, source(), ("127.0.0.1", 1)), octets, reads_body)
        assert read(remembering, octets, reads_body) == expected
        if not reads_body or remembering.mesg.should_close():  # what is left of a request ends its connection, too
            remembering = RememberingParser(CFG, source(), ("127.0.0.1", 1))


@pytest.mark.parametrize(
    ("octets", "parsed_count"), [(GET % 1, 1), (POST + b"hello", 1), (REQUESTS[7], 3)]
)
def test_a_head_that_comes_again_is_parsed_once_where_it_says_how_long_the_body_is(octets, parsed_count, monkeypatch):
    parsed = []
    parse = Request.parse
    monkeypatch.setattr(Request, "parse", lambda self, *given: parsed.append(self) or parse(self, *given))
    parser = RememberingParser(CFG, source(), ("127.0.0.1", 1))
    for _ in range(3):
        assert read(parser, octets, True)["method"]
    assert len(parsed) == parsed_count
