"""What a process's log tells of errors."""

from __future__ import annotations

import io
import logging

import pytest

from services.logs import formatter

SECRET = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_tells_types_and_places_and_no_text(style):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(style, "kme-a"))
    log = logging.getLogger(f"a library that logs {style}")
    log.propagate = False
    log.addHandler(handler)
    try:
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ValueError(f"no {SECRET}") from None
    except ValueError:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError:
            log.exception("it failed")
    said = written.getvalue()
    assert "it failed" in said and "RuntimeError" in said and "ValueError" in said and "test_errors_in_logs.py" in said
    assert SECRET not in said
