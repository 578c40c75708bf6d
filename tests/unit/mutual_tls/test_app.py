import io
import json

import pytest

from mutual_tls.app import ABOUT, CALLER, FAULT, METRICS, NEEDS, answer, json_object, listener_app, operator_app
from mutual_tls.client import Unreachable
from mutual_tls.identity import Identity

OPERATOR, PROBE = Identity("operator", "operator"), Identity("probe", "probe")
MONITOR = Identity("monitor", "prometheus")


def call(app, caller, path="/healthz", method="GET", **options):
    return app.test_client().open(path, method=method, environ_overrides={CALLER: caller} if caller else {}, **options)


@pytest.fixture
def faults():
    return []


@pytest.fixture
def app(faults):
    app = operator_app("ops", lambda: faults[0] if faults else None)

    @app.post("/v1/echo")
    def echo():
        from flask import request

        return request.get_data()

    return app


def test_a_healthy_process_says_ok_to_probe_and_operator(app):
    for caller in (OPERATOR, PROBE):
        assert call(app, caller).json == {"status": "ok"}


def test_what_is_wrong_is_said_in_words_with_503(app, faults):
    faults.append("PostgreSQL does not answer")
    answer = call(app, PROBE)
    assert (answer.status_code, answer.json["message"]) == (503, "PostgreSQL does not answer")


def test_what_the_server_complains_of_is_said_unless_the_process_has_a_fault_of_its_own(app, faults):
    def healthz():
        return app.test_client().get("/healthz", environ_overrides={CALLER: PROBE, FAULT: "the list has expired"})

    assert (healthz().status_code, healthz().json["message"]) == (503, "the list has expired")
    faults.append("PostgreSQL does not answer")
    assert healthz().json["message"] == "PostgreSQL does not answer"


def readiness(app, needs=None, **more):
    environ = {CALLER: PROBE, NEEDS: needs or {}, ABOUT: {"process": "kme-a"}} | more
    answer = app.test_client().get("/readyz", environ_overrides=environ)
    return answer.status_code, answer.json


def raising(error):
    def check():
        raise error

    return check


def test_a_process_with_all_it_needs_is_ready(app):
    status, said = readiness(app, {"Postgres": lambda: None})
    assert status == 200
    assert said.pop("time") > 1e9
    assert said == {"ready": True, "why": [], "needs": {"Postgres": "ok"}, "process": "kme-a"}


def test_a_process_that_is_not_ready_says_why_each_thing_once(app, faults):
    faults.append("Redis does not answer")
    checks = {"KME kme-b": raising(Unreachable("kme-b: nothing listens there")), "Postgres": lambda: None}
    status, said = readiness(app, checks, **{FAULT: "Redis does not answer"})
    assert status == 503 and said["ready"] is False
    assert said["why"] == ["Redis does not answer", "kme-b: nothing listens there"]
    assert said["needs"] == {"KME kme-b": "kme-b: nothing listens there", "Postgres": "ok"}
    assert said["message"] == "Redis does not answer; kme-b: nothing listens there"


def test_of_an_error_nobody_foresaw_readiness_tells_the_kind_alone(app):
    _, said = readiness(app, {"Redis": raising(RuntimeError("key 0123456789abcdef"))})
    assert said["why"] == ["RuntimeError"]


def test_a_monitor_reads_metrics_and_health_and_a_probe_health_alone(app):
    def status(caller, path, method="GET"):
        environ = {CALLER: caller, METRICS: lambda: b"up 1\n"}
        return app.test_client().open(path, method=method, environ_overrides=environ).status_code

    for path in ("/healthz", "/readyz", "/metrics"):
        assert status(MONITOR, path) == status(OPERATOR, path) == 200
    assert status(PROBE, "/readyz") == 200 and status(PROBE, "/metrics") == 401
    assert status(MONITOR, "/v1/echo", "POST") == 401


def test_a_probe_gets_nothing_but_health(app):
    assert call(app, PROBE, "/v1/echo", "POST").status_code == 401
    assert call(app, OPERATOR, "/v1/echo", "POST", data=b"x").data == b"x"


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16])
def test_a_body_as_large_as_allowed_is_refused_for_what_is_wrong_with_it(app, size):
    # A server that ends the input by itself, as gunicorn does.
    environ = {CALLER: PROBE, "wsgi.input_terminated": True}
    answer = app.test_client().post("/v1/echo", data=bytes(size), environ_overrides=environ)
    assert answer.status_code == 401


@pytest.mark.parametrize("caller", [Identity("sae", "sae-a"), Identity("kme", "kme-a"), None])
def test_a_caller_of_another_role_or_without_an_identity_is_refused_with_a_json_body(app, caller):
    answer = call(app, caller)
    assert answer.status_code == 401 and "message" in answer.json


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nothing", "GET", 404), ("/healthz", "POST", 405), ("/v1/echo", "GET", 405)]
)
def test_every_refusal_has_a_compact_json_body(app, path, method, status):
    answer = call(app, OPERATOR, path, method)
    assert answer.status_code == status
    assert json.loads(answer.data)["message"] and b'": ' not in answer.data
    assert status != 405 or "Allow" in answer.headers


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    app = listener_app("small", lambda caller: True, max_body_bytes=10)

    @app.post("/v1/echo")
    def echo():
        from flask import request

        return request.get_data()

    assert call(app, OPERATOR, "/v1/echo", "POST", data=bytes(11)).status_code == 413
    assert call(app, OPERATOR, "/v1/echo", "POST", data=bytes(10)).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413), (100_000, 413)])
def test_a_chunked_body_is_taken_whole_or_not_at_all(size, status):
    app = listener_app("small", lambda caller: True, max_body_bytes=10)

    @app.post("/v1/echo")
    def echo():
        from flask import request

        return request.get_data()

    stream = io.BytesIO(b"x" * size)
    answer = app.test_client().open(
        "/v1/echo",
        method="POST",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={CALLER: OPERATOR, "wsgi.input": stream, "wsgi.input_terminated": True},
    )
    assert answer.status_code == status
    assert status != 200 or answer.data == b"x" * size


class _CutShort(io.RawIOBase):
    """A body of which a part arrives, and then what a server raises."""

    def __init__(self, error: Exception) -> None:
        self._parts = [b"{}", error]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._parts.pop(0) if len(self._parts) > 1 else self._parts[0]
        if isinstance(part, Exception):
            raise part
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize(
    ("length", "error"),
    [
        ({"CONTENT_LENGTH": "100"}, ConnectionResetError()),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, ConnectionResetError()),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, ValueError("no chunk begins like this")),
    ],
)
def test_a_body_that_does_not_arrive_whole_is_a_400_in_json(length, error):
    app = listener_app("small", lambda caller: True)

    @app.post("/v1/echo")
    def echo():
        from flask import request

        return request.get_data()

    environ = {CALLER: OPERATOR, "wsgi.input": io.BufferedReader(_CutShort(error)), "wsgi.input_terminated": True}
    answer = app.test_client().open("/v1/echo", method="POST", environ_overrides=environ | length)
    assert answer.status_code == 400 and answer.json["message"].startswith("the request can't be read")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"[" * 100_000, b'{"a":', b"\xff{}"])
def test_a_body_that_is_no_json_object_is_a_400(body):
    app = listener_app("json", lambda caller: True)

    @app.post("/v1/object")
    def read():
        return answer(json_object())

    assert call(app, OPERATOR, "/v1/object", "POST", data=body).status_code == 400
    assert call(app, OPERATOR, "/v1/object", "POST", data=b'{"\\ud800":1}').status_code == 200
