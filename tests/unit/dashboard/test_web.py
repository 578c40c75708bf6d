"""The page's HTTP edge and what an operator may do there."""

import pytest

from qkd_lab.dashboard.actions import action_calls
from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.poller import Poller
from qkd_lab.dashboard.session import Sessions
from qkd_lab.dashboard.traffic import Traffic
from qkd_lab.dashboard.web import STATIC, page_app
from qkd_lab.lab_folder import LabError

from made_up_network import MadeUpNetwork

TOKEN = "ab" * 32
HOST = "127.0.0.1:8080"


@pytest.fixture
def network():
    return MadeUpNetwork()


@pytest.fixture
def client(network):
    hub = Hub()
    poller, traffic = Poller(network, hub), Traffic(network)
    poller.poll()
    network.asked.clear()
    actions = action_calls(network, poller, traffic)
    app = page_app(hub, Sessions(TOKEN, lambda: 1000.0), lambda app: app.register_blueprint(actions))
    made = app.test_client()
    made.environ_base["HTTP_HOST"] = HOST
    return made


@pytest.fixture
def operator(client):
    csrf = client.post("/session", json={"token": TOKEN}).json["csrf_token"]
    client.environ_base["HTTP_X_CSRF_TOKEN"] = csrf
    return client


ACTS = [
    ("PATCH", "/api/links/a-b/physics", {"eve": "none"}),
    ("PATCH", "/api/links/a-b", {"stopped": True}),
    ("POST", "/api/links/a-b/frame", {}),
    ("POST", "/api/connections", {"master": "sae-a", "slave": "sae-b", "key_size": 256, "max_keys_count": 10}),
    ("POST", "/api/messages", {"from": "sae-a", "to": "sae-b", "text": "x", "mode": "one-time-pad"}),
    ("PUT", "/api/traffic", {"on": True}),
]


def test_every_act_is_in_the_list_above(client):
    rules = {(method, rule.rule) for rule in client.application.url_map.iter_rules() for method in rule.methods}
    acts = {
        (method, rule.replace("<name>", "a-b"))
        for method, rule in rules
        if method in ("POST", "PUT", "PATCH", "DELETE")
    }
    assert acts - {("POST", "/session"), ("DELETE", "/session")} == {(method, path) for method, path, _ in ACTS}


@pytest.mark.parametrize(("method", "path", "body"), ACTS)
def test_nothing_is_done_without_the_operators_session(client, network, method, path, body):
    assert client.open(path, method=method, json=body).status_code == 401
    assert network.asked == []


@pytest.mark.parametrize(("method", "path", "body"), ACTS)
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://lab.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
     {"Origin": "null"}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "ab"}, {"Host": "lab.example"}],
)  # fmt: skip
def test_nothing_is_done_for_another_sites_page(operator, network, method, path, body, headers):
    assert operator.open(path, method=method, json=body, headers=headers).status_code == 403
    assert network.asked == []


def test_another_site_cant_log_in_a_browser(client):
    assert client.post("/session", json={"token": TOKEN}, headers={"Origin": "http://lab.example"}).status_code == 403


def test_a_session_is_a_cookie_no_script_and_no_other_site_gets(client):
    cookie = client.post("/session", json={"token": TOKEN}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie


@pytest.mark.parametrize("token", ["", "cd" * 32, "\ud800", "ä", None, 7, ["ab"]])
def test_a_wrong_token_begins_nothing(client, token):
    answer = client.post("/session", json={"token": token})
    assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
    assert client.get("/session").json == {"may_act": False}


def test_who_logs_out_may_act_no_more(operator):
    assert operator.get("/session").json["may_act"]
    operator.delete("/session")
    assert operator.get("/session").json == {"may_act": False}


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/session", "/static/none", "/api/none"])
def test_every_answer_lets_nothing_run_but_the_pages_own_files(client, path):
    with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/session", "/api/stream"])
def test_a_name_that_somebody_made_lead_here_is_not_served(client, path):
    assert client.get(path, headers={"Host": "lab.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/static/../web.py", "/static/%2e%2e/web.py", "/static//etc/passwd"])
def test_only_the_pages_files_are_served(client, path):
    assert client.get(path).status_code in (308, 404)


def test_the_page_fetches_nothing_from_elsewhere_and_has_no_inline_script():
    for file in STATIC.rglob("*"):
        if file.suffix in (".js", ".css", ".html") and "vendor" not in file.parts:
            text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "http:" not in text and "https:" not in text, file
            assert "innerHTML" not in text and "style=" not in text and ' onclick="' not in text, file


def test_vendored_files_have_their_licence():
    assert "MIT" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text()


def test_eve_is_switched_at_the_links_operator_listener(operator, network):
    assert (
        operator.patch("/api/links/a-b/physics", json={"eve": "intercept-resend:1", "distance_km": 5}).status_code
        == 200
    )
    assert network.asked == [("qlink-a-b", "PATCH", "/v1/physics", {"eve": "intercept-resend:1", "distance_km": 5.0})]


def test_a_link_is_stopped_at_both_ends(operator, network):
    assert operator.patch("/api/links/a-b", json={"stopped": True}).json == {
        "link": "a-b",
        "stopped": True,
        "unreached": [],
    }
    assert [call[:3] for call in network.asked] == [
        ("qkde-a", "PATCH", "/v1/links/a-b"),
        ("qkde-b", "PATCH", "/v1/links/a-b"),
    ]


def test_a_link_is_stopped_also_where_one_end_cant_be_reached_but_does_not_go_on_then(operator, network):
    network.failing = {"qkde-b"}
    assert operator.patch("/api/links/a-b", json={"stopped": True}).json["unreached"] == ["qkde-b does not answer"]
    assert operator.patch("/api/links/a-b", json={"stopped": False}).status_code == 502


def test_a_connection_is_registered_at_its_masters_kme(operator, network):
    network.answers["kme-b", "/register_connection"] = {"connection_id": "c"}
    wanted = {"master": "sae-b", "slave": "sae-a", "key_size": 128, "max_keys_count": 5}
    assert operator.post("/api/connections", json=wanted).status_code == 201
    (call,) = network.asked
    assert call[:3] == ("kme-b", "POST", "/register_connection")
    assert call[3]["target_KME_ID"] == "kme-a" and call[3]["max_key_per_request"] == 5


def test_a_message_is_shown_as_each_end_has_it(operator, network):
    sent = {"key_IDs": ["k"], "mode": "aes-256-gcm", "ciphertext": "c"}
    network.answers["sae-a", "/v1/messages"] = sent
    network.answers["sae-b", "/v1/inbox"] = [{**sent, "key_IDs": ["other"]}, {**sent, "text": "noon", "from": "sae-a"}]
    order = {"from": "sae-a", "to": "sae-b", "text": "noon", "mode": "aes-256-gcm"}
    found = operator.post("/api/messages", json=order).json
    assert found["sent"] == {**sent, "text": "noon"} and found["received"]["text"] == "noon"


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PATCH", "/api/links/a-b/physics", {"eve": 1}, "eve: expected a text"),
        ("PATCH", "/api/links/a-b/physics", {"loss_db": True}, "loss_db: expected a number"),
        ("PATCH", "/api/links/a-b/physics", {"name": "x"}, "name: not known here"),
        ("PATCH", "/api/links/a-b", {}, "stopped: expected true or false"),
        ("PATCH", "/api/links/a-b", {"stopped": 1}, "stopped: expected true or false"),
        ("PUT", "/api/traffic", [], "the body must be a JSON object"),
        ("POST", "/api/connections", {"master": "sae-a"}, "slave is missing"),
        ("POST", "/api/connections", {**ACTS[3][2], "master": "eve"}, "master: no SAE"),
        ("POST", "/api/messages", {"from": "kme-a", "to": "sae-b"}, "from: expected a demo SAE"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_name(operator, network, method, path, body, named):
    answer = operator.open(path, method=method, json=body)
    assert answer.status_code == 400 and named in answer.json["message"]
    assert network.asked == []


def test_a_number_that_is_none_is_refused(operator, network):
    answer = operator.patch("/api/links/a-b/physics", data='{"loss_db": NaN}')
    assert answer.status_code == 400 and network.asked == []


def test_an_unknown_link_is_not_found(operator):
    assert operator.patch("/api/links/<b>", json={"stopped": True}).status_code == 404


def test_what_a_process_refuses_is_told_in_its_words(operator, network):
    network.answers["qlink-a-b", "/v1/physics"] = LabError("loss_db is -1: expected a loss; nothing was changed")
    answer = operator.patch("/api/links/a-b/physics", json={"loss_db": -1})
    assert answer.status_code == 502 and "loss_db is -1" in answer.json["message"]


def test_an_unexpected_failure_tells_nothing_of_what_it_was_about(operator, network, caplog):
    network.answers["qlink-a-b", "/v1/physics"] = RuntimeError("secret 0123")
    answer = operator.patch("/api/links/a-b/physics", json={"eve": "none"})
    assert (answer.status_code, answer.json["message"]) == (500, "internal error")
    assert "secret" not in caplog.text and "RuntimeError" in caplog.text


def test_the_demo_saes_send_to_each_other_while_traffic_is_on(network, monkeypatch):
    traffic, times = Traffic(network), iter([False, False, True])

    class Stopping:
        def wait(self, timeout):
            return next(times)

    traffic.switch(True)
    network.failing = {"sae-b"}  # whose pool is empty: the others go on
    traffic.run(Stopping())
    assert [call[0] for call in network.asked] == ["sae-a", "sae-b"] * 2
    assert {call[3]["to"] for call in network.asked} == {"sae-a", "sae-b"}
    traffic.switch(False)
    network.asked.clear()
    times = iter([False, True])
    traffic.run(Stopping())
    assert network.asked == []
