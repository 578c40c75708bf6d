"""Each call of an SAE within its limits, and each refusal on record: for the listener where SAEs call."""

from __future__ import annotations

from flask import Flask, Response, g, request

from kme.admission import Admission
from mutual_tls.app import refusal_reason


def limit_and_record(app: Flask, admission: Admission) -> None:
    """Counts every call there is: also what is malformed, has the wrong verb, or names nothing."""

    @app.before_request
    def limit() -> None:
        admission.admit(g.caller.id)

    @app.after_request
    def record(response: Response) -> Response:
        if response.status_code >= 400:
            caller = g.caller.id if "caller" in g else "not admitted"
            view = (request.endpoint or "none").rpartition(".")[2]
            admission.refused(caller, view, response.status_code, refusal_reason(response))
        return response
