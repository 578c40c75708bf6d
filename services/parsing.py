"""gunicorn's parser, which remembers the last head of its connection: a client that asks for keys again and again
mostly sends the same octets, and to parse them takes a good part of what a request costs."""

from __future__ import annotations

from typing import Any

from gunicorn.http import Request, RequestParser
from gunicorn.http.body import Body, LengthReader


class RememberingParser(RequestParser):
    """Its source is a `RequestSocket`, with one whole request at a time."""

    _head = b""  # of `_known`; empty where the next request is to be parsed, whatever it is
    _body_length = 0
    _known: Request

    def __next__(self) -> Any:
        source = self.unreader.sock
        if self._head and source.request.startswith(self._head):
            source.skip(len(self._head))
            self.mesg = self._known_again()
            self.req_count += 1
            return self.mesg
        self._head = b""
        parsed = super().__next__()
        if type(parsed.body.reader) is LengthReader and not parsed.should_close():
            # gunicorn says where the head ends: what it has not read, or put back, is behind it.
            self._head = source.request[: len(source.request) - source.left() - len(self.unreader.buf.getvalue())]
            self._known, self._body_length = parsed, parsed.body.reader.length
            self.mesg = self._known_again()  # the application's, which may change it
            self.mesg.body = parsed.body
        return self.mesg

    def _known_again(self) -> Request:
        again = Request.__new__(Request)
        vars(again).update(vars(self._known))
        again.headers = self._known.headers.copy()
        again.body = Body(LengthReader(self.unreader, self._body_length))
        return again
