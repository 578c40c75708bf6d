"""The page's HTTP edge: for browsers of this host, over plain HTTP on its loopback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.resources import files

from flask import Flask, Response, g, request, send_from_directory
from werkzeug.exceptions import HTTPException

from mutual_tls.app import answer, json_object, problem
from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.session import LIFE_S, Sessions, is_same_site, is_this_host
from qkd_lab.lab_folder import LabError

log = logging.getLogger(__name__)

STATIC = files("qkd_lab.dashboard") / "static"
MAX_BODY_BYTES = 1 << 17
CSRF_HEADER = "X-CSRF-Token"
# Nothing but this process's own files runs, and no text can become markup: `require-trusted-types-for` takes away
# innerHTML and its like.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_app(hub: Hub, sessions: Sessions, add_actions: Callable[[Flask], None] = lambda app: None) -> Flask:
    """`add_actions` registers what an operator may do: every POST, PUT and PATCH but the login needs the session."""
    app = Flask("dashboard", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    @app.before_request
    def who_calls() -> Response | None:
        host = request.headers.get("Host", "")
        if not is_this_host(host):
            return problem(403, "Host: the dashboard is at 127.0.0.1 and localhost, nowhere else")
        # One cookie for each port: cookies know none, and several labs may run on this host.
        g.cookie_name = f"qkd-lab-{host.rpartition(':')[2]}"
        g.cookie = request.cookies.get(g.cookie_name, "")
        g.may_act = sessions.holds(g.cookie)
        if request.method in ("GET", "HEAD"):
            return None
        if not is_same_site(host, request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")):
            return problem(403, "another site's page may not act here")
        if request.path == "/session":
            return None
        if not g.may_act:
            return problem(401, "only an operator may do this: `qkd-lab dashboard` prints the link to log in with")
        if not sessions.is_csrf_token(g.cookie, request.headers.get(CSRF_HEADER, "")):
            return problem(403, f"{CSRF_HEADER}: the page's own token is missing: reload the page")
        return None

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.get("/")
    def page() -> Response:
        return send_from_directory(str(STATIC), "index.html")

    @app.get("/static/<path:name>")
    def static(name: str) -> Response:
        response = send_from_directory(str(STATIC), name)
        response.headers["Cache-Control"] = "no-cache"  # asked for each time, answered by 304
        return response

    @app.get("/api/stream")
    def stream() -> Response:
        return Response(hub.listen(), content_type="text/event-stream")

    @app.get("/session")
    def session() -> Response:
        return answer(_session())

    @app.post("/session")
    def log_in() -> Response:
        token = json_object().get("token")
        cookie = sessions.begin(token) if isinstance(token, str) else None
        if cookie is None:
            return problem(401, "token: not this lab's; `qkd-lab dashboard` prints the link to log in with")
        g.cookie, g.may_act = cookie, True
        response = answer(_session())
        response.set_cookie(g.cookie_name, cookie, max_age=LIFE_S, httponly=True, samesite="Strict")
        return response

    @app.delete("/session")
    def log_out() -> Response:
        g.may_act = False
        response = answer(_session())
        response.delete_cookie(g.cookie_name, httponly=True, samesite="Strict")
        return response

    def _session() -> dict[str, str | bool]:
        return {"may_act": g.may_act} | ({"csrf_token": sessions.csrf_token(g.cookie)} if g.may_act else {})

    @app.errorhandler(LabError)
    def lab_error(error: LabError) -> Response:
        return problem(502, str(error))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return problem(error.code or 500, error.description or error.name)

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        # The message of an unexpected error may quote what it worked on: a text, a key's id.
        log.error("%s %s failed: %s", request.method, request.path, type(error).__name__)
        return problem(500, "internal error")

    add_actions(app)
    return app
