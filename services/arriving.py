"""Where a request ends: it is handed to a thread when all of it is there, so that a slow client costs memory only.

What a request means is gunicorn's to say, which gets exactly these octets. What looks malformed here ends where it is,
and gunicorn refuses it; nothing is read as a request that gunicorn would read otherwise.
"""

from __future__ import annotations

import re

LINE_BYTES = 4094  # gunicorn's own limit of a request line
HEAD_BYTES = 32 << 10
CHUNK_LINE_BYTES = 1 << 10
_NUMBER = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")


class Unacceptable(Exception):
    """The request is refused before it is read to its end."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Arriving:
    """The octets that came by one connection and were not yet taken."""

    def __init__(self, max_body_bytes: int) -> None:
        self.octets = bytearray()
        self._max_body_bytes = max_body_bytes
        self._known: tuple[bytes, int] | None = None  # the last head, and how long a body it announces
        self._begin()

    def _begin(self) -> None:
        self._looked_at = 0
        self._body_at: int | None = None
        self._length: int | None = None  # None: in chunks
        self._chunk_at = 0
        self._in_chunks = 0
        self.waits_for_continue = False

    def take(self) -> bytes | None:
        """One whole request, or None: more has to come. Raises Unacceptable."""
        end = self._end()
        if end is None:
            return None
        taken = bytes(self.octets[:end])
        del self.octets[:end]
        self._begin()
        return taken

    def _end(self) -> int | None:
        if self._body_at is None and not self._head_is_there():
            return None
        if self._length is None:
            return self._end_of_chunks()
        end = self._body_at + self._length
        return end if end <= len(self.octets) else None

    def _head_is_there(self) -> bool:
        if self._known and self.octets.startswith(self._known[0]):  # most clients send the same again
            self._body_at, self._length = len(self._known[0]), self._known[1]
            return True
        at = self.octets.find(b"\r\n\r\n", max(0, self._looked_at - 3))
        self._looked_at = len(self.octets)
        if (at if at >= 0 else self._looked_at) > HEAD_BYTES:
            if self.octets.find(b"\r\n", 0, LINE_BYTES + 2) < 0:
                raise Unacceptable(414, f"the request can't be read: its line is longer than {LINE_BYTES} bytes")
            raise Unacceptable(431, f"the request can't be read: its header is larger than {HEAD_BYTES} bytes")
        if at < 0:
            return False
        self._body_at = self._chunk_at = at + 4
        head = bytes(self.octets[: at + 4])
        self._read_framing(head[:-4])
        self._known = None if self._length is None or self.waits_for_continue else (head, self._length)
        return True

    def _read_framing(self, head: bytes) -> None:
        fields: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().lower(), []).append(value.strip())
        lengths, codings = fields.get(b"content-length", []), b",".join(fields.get(b"transfer-encoding", []))
        self._length = 0  # also where gunicorn refuses what the header says: nobody waits for such a body
        if codings.rpartition(b",")[2].strip().lower() == b"chunked":
            self._length = None
        elif not codings and len(lengths) == 1 and _NUMBER.fullmatch(lengths[0]):
            self._length = int(lengths[0])
            self._check_size(self._length)
        self.waits_for_continue = fields.get(b"expect", [b""])[-1].lower() == b"100-continue"

    def _end_of_chunks(self) -> int | None:
        """RFC 9112 clause 7.1. What is no chunk ends the request, for gunicorn to refuse."""
        octets = self.octets
        while True:
            line_end = octets.find(b"\r\n", self._chunk_at, self._chunk_at + CHUNK_LINE_BYTES)
            if line_end < 0:
                return len(octets) if len(octets) - self._chunk_at >= CHUNK_LINE_BYTES else None
            size = octets[self._chunk_at : line_end].partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size):
                return len(octets)
            if int(size, 16) == 0:
                return self._end_of_trailers(line_end)
            self._check_size(self._in_chunks + int(size, 16))
            after = line_end + 2 + int(size, 16) + 2
            if after > len(octets):
                return None
            if octets[after - 2 : after] != b"\r\n":
                return len(octets)
            self._in_chunks += int(size, 16)
            self._chunk_at = after
            self._check_size(after - self._body_at - HEAD_BYTES)  # many small chunks are large, too

    def _end_of_trailers(self, at: int) -> int | None:
        end = self.octets.find(b"\r\n\r\n", at, at + HEAD_BYTES)
        if end >= 0:
            return end + 4
        return len(self.octets) if len(self.octets) - at >= HEAD_BYTES else None

    def _check_size(self, body_bytes: int) -> None:
        if body_bytes > self._max_body_bytes:
            raise Unacceptable(413, f"the body is larger than {self._max_body_bytes} bytes")
