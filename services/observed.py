"""Around every application of a process: each request gets its id, and is counted, timed and logged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mutual_tls import request_id
from mutual_tls.app import OUTCOME

from .metrics import REFUSALS, REQUESTS, SECONDS

log = logging.getLogger(__name__)

# A child for its labels, found without the lock and the checks that `labels` goes through. Labels have few values.
_requests, _seconds = lru_cache(1024)(REQUESTS.labels), lru_cache(1024)(SECONDS.labels)

OFFERED_ID = "HTTP_X_REQUEST_ID"
App = Callable[..., Any]


def observed(listener: str, app: App) -> App:
    """The WSGI application `app` of one listener, with the id in its answer."""

    def answered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        started, code = time.perf_counter(), "500"
        with request_id.begun(environ.get(OFFERED_ID)) as known_by:

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                nonlocal code
                code = status[:3]
                return start_response(status, [*headers, (request_id.HEADER, known_by)], *more)

            try:
                return app(environ, start)
            finally:
                elapsed_s = time.perf_counter() - started
                method, reason = environ.get(OUTCOME, ("none", None))
                _requests(listener, method, code).inc()
                _seconds(listener, method).observe(elapsed_s)
                if reason:
                    REFUSALS.labels(listener, method, reason).inc()
                    code = f"{code} {reason}"
                log.debug("%s %s: %s in %.1f ms", listener, method, code, elapsed_s * 1000)

    return answered
