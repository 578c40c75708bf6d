"""The OpenAPI 3.1 document of a listener, made from its app's routes and what `documented` says beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

from kme.etsi014_schemas import ERROR, Schema
from kme.web.docs_page import page
from kme.web.documented import JSON, Operation, Parameter, documented, operations_of
from mutual_tls.app import answer

_VARIABLE = re.compile(r"<(?:[^<>:]*:)?([^<>]+)>")
_ABOUT = """\
Key delivery of one KME to the SAEs of its site, after ETSI GS QKD 014 V1.1.1.

The caller is the SAE that its verified client certificate names, never a header, a query or a body. A GET of keys \
delivers keys, and a client or something between may repeat a GET by itself: POST is the better choice. The \
Content-Type of a request is not looked at: its body is JSON in UTF-8.

What can't be read as an HTTP request is refused before any method here, with the same body: 400, 414, 431 or 501."""

REFUSALS = {
    400: "The request is malformed, out of range, names an unknown SAE, connection or key; nothing was delivered",
    401: "The caller is not an SAE of this KME, or not entitled to what it asks for; nothing was delivered",
    404: "No such path",
    405: "Another method than this path has",
    413: "The body is too large",
    414: "The request line is too long; use POST",
    429: "Too many requests of this SAE; try again after the time given",
    431: "The headers are too long, or too many",
    501: "A transfer coding nobody here has",
    503: "Too few keys, or a store or another KME does not answer; nothing was delivered, try again later",
}
_UNREADABLE = (400, 414, 431, 501)  # whatever the method: the server's own
_RETRY_AFTER = {
    "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds", "required": True}
}
_HEADERS = {
    405: {"Allow": {"schema": {"type": "string"}, "description": "The methods it has", "required": True}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def document(app: Flask) -> dict[str, Any]:
    """The document of every documented route of the app."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {ERROR.name: ERROR.json}
    for rule, method, operation in _operations(app):
        if operation is None:
            continue
        for schema in filter(None, (operation.gives, operation.body)):
            schemas[schema.name] = schema.json
        path = _VARIABLE.sub(lambda part, found=operation: f"{{{_in_path(found, part[1]).name}}}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _rendered(rule, method, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "KME: key delivery to SAEs", "version": "1.1.1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"certificate": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A client certificate of the site's SAE authority that names the SAE",
                }
            },
            "schemas": dict(sorted(schemas.items())),
            "responses": {str(status): _refusal(status) for status in REFUSALS},
        },
    }


def undocumented(app: Flask) -> list[str]:
    """Routes that the document leaves out, since `documented` is not beside them: none, says a test."""
    return [f"{method} {rule.rule}" for rule, method, operation in _operations(app) if operation is None]


def documents() -> Blueprint:
    """`/openapi.json`, and `/docs` for people."""
    routes = Blueprint("documents", __name__)

    @routes.get("/openapi.json")
    @documented("GET", "This document", gives=Schema("OpenAPI", {"type": "object"}), refuses=(401, 405, 413))
    def openapi() -> Response:
        return answer(document(current_app))

    @routes.get("/docs")
    @documented("GET", "This document as a page", media_type="text/html", refuses=(401, 405, 413))
    def docs() -> Response:
        # Nothing of it comes from elsewhere, and nothing in it runs.
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(page(document(current_app)), headers=policy, content_type="text/html; charset=utf-8")

    return routes


def _operations(app: Flask) -> Iterator[tuple[Rule, str, Operation | None]]:
    for rule in app.url_map.iter_rules():
        found = operations_of(app.view_functions[rule.endpoint])
        for method in sorted(rule.methods or ()):
            yield rule, method, found.get(method)


def _in_path(operation: Operation, name: str) -> Parameter:
    return operation.path.get(name) or Parameter(name, {"type": "string"})


def _rendered(rule: Rule, method: str, operation: Operation) -> dict[str, Any]:
    group, _, name = rule.endpoint.rpartition(".")
    in_path = [_parameter(_in_path(operation, part), "path") for part in _VARIABLE.findall(rule.rule)]
    good: dict[str, Any] = {"description": operation.gives.json.get("description", "") if operation.gives else ""}
    good["description"] = good["description"] or operation.summary
    if operation.gives or operation.media_type != JSON:
        schema = _reference(operation.gives) if operation.gives else {"type": "string"}
        good["content"] = {operation.media_type: {"schema": schema}}
    refused = sorted({*operation.refuses, *_UNREADABLE})
    rendered = {
        "operationId": f"{method.lower()}_{name}" if group == "keys" else f"{method.lower()}_{group}_{name}",
        "tags": [group or "other"],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": in_path + [_parameter(one, "query") for one in operation.query],
        "responses": {str(status): good for status in (operation.status, *operation.also)}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in refused},
    }
    if operation.body:
        rendered["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": _reference(operation.body)}},
        }
    return {name: value for name, value in rendered.items() if value not in ("", [])}


def _parameter(parameter: Parameter, where: str) -> dict[str, Any]:
    schema = dict(parameter.schema)
    description = {"description": schema.pop("description")} if "description" in schema else {}
    required = where == "path" or parameter.required
    return {"name": parameter.name, "in": where, "required": required, **description, "schema": schema}


def _reference(schema: Schema) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema.name}"}


def _refusal(status: int) -> dict[str, Any]:
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    return {"description": REFUSALS[status], **headers, "content": {JSON: {"schema": _reference(ERROR)}}}
