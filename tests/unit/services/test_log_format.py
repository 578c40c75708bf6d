"""What a process's log tells of errors."""

from __future__ import annotations

import io
import logging

from services.log_format import WithoutErrorTexts

SECRET = "00112233445566778899aabbccddeeff"


def test_a_traceback_tells_types_and_places_and_no_text():
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(WithoutErrorTexts("%(levelname)s %(message)s"))
    log = logging.getLogger("a library that logs all")
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
    assert "it failed" in said and "RuntimeError" in said and "ValueError" in said and "test_log_format.py" in said
    assert SECRET not in said
