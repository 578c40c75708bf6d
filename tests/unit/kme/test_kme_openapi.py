"""The OpenAPI document of the SAE listener: whole, valid, and what the code does."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from kme import etsi014, etsi014_schemas
from kme.delivery import check_request
from kme.errors import BadRequest
from kme.model import MAX_KEY_SIZE_BITS, Connection, Key, PoolStatus
from kme.web.certificates import info_routes
from kme.web.documented import documented
from kme.web.doors import DOORS, doors_of
from kme.web.openapi import document, undocumented
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity

ID = "123e4567-e89b-42d3-a456-426614174000"
ME = Identity("sae", "me")
KEY_METHODS = {("enc_keys", "get"), ("enc_keys", "post"), ("dec_keys", "get"), ("dec_keys", "post"), ("status", "get")}


@pytest.fixture
def app():
    kme = SimpleNamespace(settings=SimpleNamespace(doors=DOORS))
    return sae_app(None, doors=[info_routes("kme-a", lambda caller: None), *doors_of(kme)])


def get(app, path, identity=ME):
    return app.test_client().get(path, environ_overrides={CALLER: identity} if identity else {})


def check(schema: etsi014_schemas.Schema, value) -> bool:
    return Draft202012Validator(schema.json, format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid(value)


def test_every_route_of_the_sae_listener_is_documented_beside_it(app):
    assert undocumented(app) == [], "put @documented(method, summary, ...) of kme.web.documented at these routes"


def test_a_route_without_documentation_is_named_and_left_out(app):
    app.add_url_rule("/api/v1/new", view_func=lambda: "", endpoint="new", methods=["GET", "POST"])
    assert undocumented(app) == ["GET /api/v1/new", "POST /api/v1/new"]
    assert "/api/v1/new" not in document(app)["paths"]


def test_a_route_gets_into_the_document_by_what_stands_beside_it(app):
    info = etsi014_schemas.Schema("Info", {"type": "object"})

    @app.get("/api/v1/sae/info/me")
    @documented("GET", "Who the caller is", gives=info, refuses=(401, 405))
    def me():
        return ""

    operation = document(app)["paths"]["/api/v1/sae/info/me"]["get"]
    assert list(operation["responses"]) == ["200", "400", "401", "405", "414", "431", "501"]
    assert document(app)["components"]["schemas"]["Info"] == {"type": "object"}
    validate(document(app))


def test_the_document_is_valid_openapi_3_1(app):
    assert document(app)["openapi"].startswith("3.1.")
    validate(document(app))


def test_every_method_of_the_standard_is_in_it_with_its_answers(app):
    paths = document(app)["paths"]
    found = {(path.rpartition("/")[2], method) for path in paths for method in paths[path] if "_SAE_ID}/" in path}
    assert found == KEY_METHODS
    for path in filter(lambda path: "_SAE_ID}/" in path, paths):
        for operation in paths[path].values():
            refused = ["400", "401", "404", "405", "413", "414", "429", "431", "501", "503"]
            assert list(operation["responses"]) == ["200", *refused]
            parameters = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert parameters == re.findall("{(.*?)}", path)


def test_refusals_have_the_standards_body_and_say_when_to_come_again(app):
    refusals = document(app)["components"]["responses"]
    for status, refusal in refusals.items():
        assert refusal["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        assert ("Retry-After" in refusal.get("headers", {})) == (status in ("429", "503"))
    assert "Allow" in refusals["405"]["headers"]


def test_a_caller_needs_a_certificate(app):
    wanted = document(app)
    assert wanted["security"] == [{"certificate": []}]
    assert wanted["components"]["securitySchemes"]["certificate"]["type"] == "mutualTLS"
    for path in ("/api/v1/openapi.json", "/api/v1/docs"):
        assert get(app, path, None).status_code == 401
        assert get(app, path, Identity("kme", "kme-b")).status_code == 401


def test_the_listener_serves_its_document(app):
    served = get(app, "/api/v1/openapi.json")
    assert (served.status_code, served.content_type) == (200, "application/json")
    assert served.get_json() == document(app)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.text = [], set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_operation_and_member_and_fetches_nothing(app):
    served = get(app, "/api/v1/docs")
    assert (served.status_code, served.content_type) == (200, "text/html; charset=utf-8")
    assert served.headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = Page(served.get_data(as_text=True))
    assert page.open == [] and not page.tags & {"script", "img", "link", "iframe", "form"}
    assert all(link == "openapi.json" or link.startswith("#") for link in page.links)
    wanted = document(app)
    for path, operations in wanted["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}" in page.text
    for schema in wanted["components"]["schemas"].values():
        for member in schema.get("properties", {}):
            assert member in page.text


def test_what_a_document_says_can_not_become_markup(app):
    @app.get("/api/v1/<which>")
    @documented("GET", "<script>alert(1)</script>", "a & b", refuses=())
    def other(which):
        return ""

    text = get(app, "/api/v1/docs").get_data(as_text=True)
    assert "<script>" not in text and "&lt;script&gt;" in text and "a &amp; b" in text


def test_answers_are_as_their_schemas_say():
    connection = Connection("kme-a", "kme-b", "sae-a", "sae-b")
    status = etsi014.status_json(PoolStatus(connection, 17))
    assert check(etsi014_schemas.STATUS, status)
    assert not check(etsi014_schemas.STATUS, status | {"x": 1})
    for name in status:
        assert not check(etsi014_schemas.STATUS, {member: status[member] for member in status if member != name})
    for length in (1, 2, 3, 32, MAX_KEY_SIZE_BITS // 8):
        container = etsi014.container_text([Key(UUID(ID).bytes, bytes(length))])
        assert check(etsi014_schemas.KEY_CONTAINER, json.loads(container))


@pytest.mark.parametrize(
    "container",
    [
        {},
        {"keys": []},
        {"keys": [{"key_ID": ID}]},
        {"keys": [{"key_ID": ID.upper(), "key": "AA=="}]},
        {"keys": [{"key_ID": ID.replace("-", ""), "key": "AA=="}]},
        {"keys": [{"key_ID": ID, "key": "AA"}]},
        {"keys": [{"key_ID": ID, "key": "A-_="}]},
        {"Keys": [{"key_ID": ID, "key": "AA=="}]},
    ],
)
def test_what_clients_could_not_read_is_no_key_container(container):
    assert not check(etsi014_schemas.KEY_CONTAINER, container)


@pytest.mark.parametrize(
    ("member", "value"),
    [("number", None), ("number", 1), ("number", 0), ("number", True), ("number", "1"), ("number", 1001)]
    + [("size", None), ("size", 8), ("size", 4096), ("size", 4104), ("size", 12), ("size", 0), ("size", False)]
    + [("additional_slave_SAE_IDs", value) for value in (None, [], "x", [1], {})]
    + [("extension_mandatory", value) for value in (None, [], [{}], ["x"], {})]
    + [("extension_optional", value) for value in (None, [{"a_b": 1}], [1], 7)]
    + [("unknown", value) for value in (None, 1, [], {})],
)
def test_the_schema_of_a_key_request_takes_what_the_code_takes(member, value):
    connection = Connection("a", "b", "c", "d", max_key_count=1000, max_key_per_request=1000)
    try:
        check_request(etsi014.key_request(json.dumps({member: value}).encode()), connection)
        taken = True
    except BadRequest:
        taken = False
    assert check(etsi014_schemas.KEY_REQUEST, {member: value}) == taken
