"""A Flask application for one listener: it admits the callers it is for, and every refusal has a JSON body."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from mutual_tls.client import PeerError
from mutual_tls.identity import Identity, NoIdentity, Registered, identity_of_der
from mutual_tls.routes import remembered

log = logging.getLogger(__name__)

# Set by the server (services/listeners.py) from the TLS session, never from a header.
CERTIFICATE = "qkd.certificate"
# Set in its place by tests that run an application without TLS.
CALLER = "qkd.caller"
# What the server itself has to complain of, in words, or None: a revocation list that can't be used.
FAULT = "qkd.fault"
# What the process needs of others to do its work: by name, a check that raises, in words, where that fails.
NEEDS = "qkd.needs"
# Gives its metrics as Prometheus reads them.
METRICS = "qkd.metrics"
# What else `/readyz` shows of it: its version, since when it runs.
ABOUT = "qkd.about"
# Set for the server by an application: the name of the view that answered, and the kind of refusal or None.
OUTCOME = "qkd.outcome"

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Machines that look at every process, and may do no more.
WATCHERS = {"probe": ("/healthz", "/readyz"), "monitor": ("/healthz", "/readyz", "/metrics")}


def problem(status: int, message: str, *details: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """An error answer: `{"message", "details"?}`, as ETSI GS QKD 014 table 13 has it, compact."""
    body: dict[str, Any] = {"message": message}
    if details:
        body["details"] = list(details)
    return answer(body, status, headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A compact JSON answer."""
    return answer_text(json.dumps(body, separators=(",", ":")), status, headers)


def answer_text(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of JSON that is written already."""
    return Response(text, status, headers, content_type="application/json")


def json_object() -> dict[str, Any]:
    """The request's body, which must be a JSON object; else the request ends with 400."""
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        abort(problem(400, "the body must be a JSON object"))
    return body


def listener_app(
    name: str,
    admits: Callable[[Identity], bool],
    *,
    subject_counts: bool = False,
    registered: Registered | None = None,
    max_body_bytes: int = 1 << 20,
) -> Flask:
    """An app whose every request has a verified caller, in `flask.g.caller`, that `admits` accepts; others get 401.

    `subject_counts`, `registered`: see `mutual_tls.identity.identity_of`; for listeners under an SAE authority alone.
    """
    app = Flask(name, static_folder=None)
    app.ensure_sync = lambda function: function  # type: ignore[method-assign]  # none of ours is a coroutine; to look costs a few µs for each
    app.create_url_adapter = remembered(app.url_map)  # type: ignore[method-assign]
    app.logger.addFilter(_without_text)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    def read_chunks(environ: dict[str, Any]) -> Response | None:
        # A body without a length would be cut off at the limit without a word, and the part before it taken for all.
        if request.content_length is None and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            try:
                body = environ["wsgi.input"].read(max_body_bytes + 1)
            except Exception as error:  # the server's own, for chunks that are none or end half way; it may quote them
                return problem(400, f"the request can't be read: {type(error).__name__}")
            if len(body) > max_body_bytes:
                return problem(413, f"the body is larger than {max_body_bytes} bytes")
            environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
        return None

    @app.before_request
    def admit() -> Response | None:
        environ = request.environ
        if "HTTP_TRANSFER_ENCODING" in environ and (refusal := read_chunks(environ)) is not None:
            return refusal
        try:  # Flask would fail on it, late, where the query is first looked at
            request.query_string.decode()
        except UnicodeDecodeError:
            return problem(400, "the query is not UTF-8: percent-encode it")
        try:
            caller = environ.get(CALLER) or identity_of_der(environ[CERTIFICATE], subject_counts, registered)
        except (NoIdentity, KeyError, ValueError) as error:
            return problem(401, f"the caller's certificate gives no identity: {error}")
        if not admits(caller):
            return problem(401, f"{caller} is not admitted here")
        g.caller = caller
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        # The name of a view, never the path: a caller could make up as many as it likes.
        view = (request.endpoint or "none").rpartition(".")[2]
        is_refused = response.status_code >= 400
        request.environ[OUTCOME] = view, refusal_reason(response) if is_refused else None
        # A caller that is still sending when it is refused would see a broken connection instead of the refusal.
        if is_refused and 0 < (request.content_length or 0) <= max_body_bytes:
            # Werkzeug raises one of these also at the end of a body that is exactly as long as allowed.
            with contextlib.suppress(RequestEntityTooLarge, ClientDisconnected):
                while request.stream.read(1 << 16):
                    pass
        return response

    @app.errorhandler(ClientDisconnected)
    def cut_short(error: ClientDisconnected) -> Response:
        return problem(400, "the request can't be read: its body did not arrive whole")

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        headers = {k: v for k, v in error.get_headers() if k not in ("Content-Type", "Content-Length")}
        return problem(error.code or 500, error.description or error.name, headers=headers)

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        # The message of an unexpected error may quote what it worked on, so only its type and place are logged.
        log.error("%s %s failed: %s at %s", request.method, request.path, type(error).__name__, _place(error))
        return problem(500, "internal error")

    return app


def refusal_reason(response: Response) -> str:
    """What kind of refusal an answer is: the domain error's name where the application has noted it, else HTTP's."""
    return g.get("refusal_reason") or response.status.partition(" ")[2].title().replace(" ", "")


def operator_app(
    name: str,
    fault: Callable[[], str | None] = lambda: None,
    also: Callable[[], dict[str, str]] = dict,
    *,
    max_body_bytes: int = 1 << 16,
) -> Flask:
    """The app of a process's `ops` listener: operators may do what it offers, `WATCHERS` look alone.

    `fault` says in words what is wrong now, or None: then the process is healthy, and `also` has more members to show.
    `/healthz` is about the process itself and its stores, `/readyz` also about the others that it needs (`NEEDS`).
    """
    app = listener_app(name, lambda caller: caller.role in ("operator", *WATCHERS), max_body_bytes=max_body_bytes)

    @app.before_request
    def watchers_only_look() -> Response | None:
        paths = WATCHERS.get(g.caller.role) if "caller" in g else None
        if paths and request.path not in paths:
            return problem(401, f"{g.caller} is admitted to {', '.join(paths)} only")
        return None

    @app.get("/healthz")
    def healthz() -> Response:
        message = fault() or request.environ.get(FAULT)
        return answer({"status": "failing", "message": message}, 503) if message else answer({"status": "ok"} | also())

    @app.get("/readyz")
    def readyz() -> Response:
        checks = request.environ.get(NEEDS, {})
        with ThreadPoolExecutor(len(checks) + 1) as pool:  # each may have to wait for somebody who is silent
            own, asked = pool.submit(fault), pool.map(_trouble, checks.values())
            needs = dict(zip(checks, asked, strict=True))
        troubles = [own.result(), request.environ.get(FAULT), *needs.values()]
        why = list(dict.fromkeys(trouble for trouble in troubles if trouble))
        state: dict[str, Any] = {"ready": not why, "why": why, "needs": {n: t or "ok" for n, t in needs.items()}}
        if why:
            state["message"] = "; ".join(why)
        return answer(state | {"time": time.time()} | request.environ.get(ABOUT, {}), 503 if why else 200)

    @app.get("/metrics")
    def metrics() -> Response:
        written: Callable[[], bytes] | None = request.environ.get(METRICS)
        return Response(written(), content_type=METRICS_TYPE) if written else problem(404, "nothing is counted here")

    return app


def _without_text(record: logging.LogRecord) -> bool:
    """Flask logs what fails after the answer was made with its text, and with that of the error it was to answer."""
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        record.msg = f"{record.getMessage()}: {type(error).__name__} at {_place(error)}"
        record.args, record.exc_info = (), None
    return True


def _trouble(check: Callable[[], object]) -> str | None:
    """Why a check failed. The text of what is no error of the process's own domain may quote what it worked on."""
    try:
        check()
    except PeerError as error:
        return str(error)
    except Exception as error:
        return getattr(error, "message", None) or type(error).__name__
    return None


def _place(error: BaseException) -> str:
    frames = []
    trace = error.__traceback__
    while trace:
        frames.append(f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-6:]))
