"""From answers of operator listeners to what browsers get."""

import json

import pytest

from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.poller import KEPT_EVENTS, KEPT_ROUNDS, Poller

from made_up_network import CONNECTION, MadeUpNetwork, report


class Told(Hub):
    def __init__(self):
        super().__init__()
        self.ticks, self.hello = [], None

    def publish(self, tick, hello):
        json.dumps(hello)
        self.ticks.append(tick)
        self.hello = hello


@pytest.fixture
def made():
    network, told, now = MadeUpNetwork(), Told(), [1000.0]
    poller = Poller(network, told, clock=lambda: now[0])

    def poll():
        poller.poll()
        now[0] += 1
        return told.ticks[-1]

    return network, poller, told, poll


def delivered(number, count=33):
    detail = {"role": "master", "sae_id": "sae-a", "connection_id": CONNECTION, "key_id": "8844", "key_count": count}
    return {"id": number, "at": "2026-11-22T12:00:01+00:00", "event": "keys_delivered", "detail": detail}


def test_the_picture_has_sites_links_and_connections(made):
    *_, poll = made
    state = poll()["state"]
    assert [(one["name"], one["health"], one["saes"]) for one in state["sites"]] == [
        ("a", "ok", ["sae-a"]),
        ("b", "ok", ["sae-b"]),
    ]
    (link,) = state["links"]
    assert (link["name"], link["health"], link["eve"], link["threshold"]) == ("a-b", "ok", "none", 0.04)
    first = state["connections"][0]
    assert (first["id"], first["level"], first["low"], first["high"], first["to"]) == (CONNECTION, 700, 500, 1000, "b")


def test_a_round_that_both_ends_report_is_told_once(made):
    network, _, told, poll = made
    assert [row["id"] for row in poll()["rounds"]] == ["round-1"]
    assert poll()["rounds"] == []
    network.answers["qkde-b", "/v1/reports"] = [report(1), report(2)]
    tick = poll()
    assert [row["id"] for row in tick["rounds"]] == ["round-2"]
    assert tick["samples"]["links"]["a-b"][1:] == [0.01, 0.1, 20.0, 10.0, 0]
    assert poll()["samples"]["links"]["a-b"][1:3] == [None, None]
    assert [row["id"] for row in told.hello["rounds"]] == ["round-1", "round-2"]


def test_eves_presence_is_that_of_the_links_physics(made):
    network, *_, poll = made
    network.answers["qlink-a-b", "/v1/physics"]["eve"] = "intercept-resend:1"
    assert poll()["samples"]["links"]["a-b"][5] == 1


def test_a_round_without_key_is_an_alarm_and_a_stopped_link_is_said_so(made):
    network, *_, poll = made
    network.answers["qkde-a", "/v1/reports"] = [report(1), report(2, "aborted", 0.25)]
    link = poll()["state"]["links"][0]
    assert link["health"] == "alarm" and "QBER over the tolerance" in link["why"][0]
    network.answers["qkde-b", "/v1/links"][0]["stopped"] = True
    assert poll()["state"]["links"][0]["health"] == "stopped"


def test_what_does_not_answer_is_down_and_the_rest_goes_on(made):
    network, *_, poll = made
    poll()
    network.failing = {"qlink-a-b", "kme-b"}
    for _ in range(3):
        state = poll()["state"]
    assert state["links"][0]["health"] == "down" and "qlink-a-b" in state["links"][0]["why"][0]
    assert [one["health"] for one in state["sites"]] == ["ok", "down"]
    network.failing = set()
    for _ in range(3):
        state = poll()["state"]
    assert state["links"][0]["health"] == "ok"


def test_events_are_asked_for_from_the_last_one_on_and_count_as_deliveries(made):
    network, *_, poll = made
    network.answers["kme-a", "/v1/events"] = [delivered(7)]
    tick = poll()
    assert tick["events"][-1]["text"] == "SAE sae-a took 33 keys, 8844… the first for sae-b"
    assert tick["state"]["connections"][0]["rate"] == 0, "what was before the first look is no rate of now"
    network.answers["kme-a", "/v1/events"] = [delivered(8)]
    assert poll()["state"]["connections"][0]["rate"] == pytest.approx(1.1)
    paths = [path for process, _, path, _ in network.asked if process == "kme-a" and "events" in path]
    assert paths == ["/v1/events?count=100", "/v1/events?after=7&count=500"]


def test_what_happened_while_a_kme_did_not_answer_first_is_no_delivery_of_now(made):
    network, *_, poll = made
    network.failing = {"kme-a"}
    poll()
    network.failing = set()
    network.answers["kme-a", "/v1/events"] = [delivered(7)]
    state = poll()["state"]
    assert [one["rate"] for one in state["connections"]] == [0, 0]


def test_what_an_operator_did_is_in_the_feed(made):
    _, poller, _, poll = made
    poller.tell("an operator stopped link a-b", link="a-b")
    assert [(one["kind"], one["link"]) for one in poll()["events"] if one["kind"] == "operator"] == [
        ("operator", "a-b")
    ]


def test_its_memory_is_bounded(made):
    network, _, told, poll = made
    for number in range(KEPT_EVENTS // 100 + 3):
        network.answers["kme-a", "/v1/events"] = [delivered(100 * number + one) for one in range(100)]
        network.answers["qkde-a", "/v1/reports"] = [report(20 * number + one) for one in range(20)]
        poll()
    assert len(told.hello["events"]) == KEPT_EVENTS and len(told.hello["rounds"]) == KEPT_ROUNDS
