"""Routes that are remembered lead where they led, and nobody's values to another's request."""

import pytest
from flask import Flask, request

from mutual_tls.routes import remembered


@pytest.fixture
def client():
    app = Flask("routes", static_folder=None)
    app.create_url_adapter = remembered(app.url_map)

    @app.get("/<who>/keys")
    def keys(who):
        request.view_args["who"] = "changed"
        return who

    @app.post("/<who>/keys")
    def more(who):
        return f"more for {who}"

    return app.test_client()


def test_each_path_and_method_has_its_view_and_values_however_often(client):
    for _ in range(3):
        assert client.get("/a/keys").text == "a"
        assert client.get("/b/keys").text == "b"
        assert client.post("/a/keys").text == "more for a"
        assert client.get("/a").status_code == 404
        refused = client.put("/a/keys")
        assert refused.status_code == 405 and set(refused.allow) >= {"GET", "POST"}


def test_a_path_is_looked_up_once(client, monkeypatch):
    looked_up = []
    matcher = client.application.url_map._matcher
    match = matcher.match
    monkeypatch.setattr(matcher, "match", lambda *given: looked_up.append(given) or match(*given))
    for _ in range(3):
        assert client.get("/a/keys").text == "a"
    assert len(looked_up) == 1
