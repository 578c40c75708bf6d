"""One id for all that follows from one request, through every process: in the header, in each log line, in the answer.

Who calls may choose it, so it is taken only where it is short and plain: it gets into logs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-ID"
_FORM = re.compile(r"[A-Za-z0-9._-]{8,64}")
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of what is being done in this context, or None."""
    return _current.get()


def headers() -> dict[str, str]:
    """What tells another process the id, where there is one."""
    known_by = current()
    return {HEADER: known_by} if known_by else {}


@contextmanager
def begun(offered: str | None = None) -> Iterator[str]:
    """What is done inside belongs to the id that was offered, or to a new one where none or a malformed one was."""
    known = _current.set(offered if offered and _FORM.fullmatch(offered) else f"{random.getrandbits(128):032x}")
    try:
        yield _current.get() or ""
    finally:
        _current.reset(known)
