"""The one map from domain errors to HTTP answers. What is not in it becomes a bare 500 (`mutual_tls.app`)."""

from __future__ import annotations

from flask import Flask, Response, g

from kme.errors import BadRequest, Conflict, KmeError, NotEntitled, NotHere, TooManyRequests, Unavailable
from mutual_tls.app import problem

_STATUS: tuple[tuple[type[KmeError], int], ...] = (
    (BadRequest, 400),
    (NotEntitled, 401),
    (NotHere, 404),
    (Conflict, 409),
    (TooManyRequests, 429),
    (Unavailable, 503),
)


def answer_errors(app: Flask) -> Flask:
    @app.errorhandler(KmeError)
    def refused(error: KmeError) -> Response:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        retry_after_s = getattr(error, "retry_after_s", 1)
        headers = {"Retry-After": str(retry_after_s)} if status in (429, 503) else None
        g.refusal_reason = type(error).__name__
        return problem(status, error.message, *error.details, headers=headers)

    return app
