"""An order is followed once, however often it is asked for, and whoever asks hears of it in time."""

import threading
from types import SimpleNamespace

import pytest

from mutual_tls.app import CALLER
from mutual_tls.client import Reply
from mutual_tls.identity import Identity
from qkde.node import orders
from qkde.node.ends import Busy
from qkde.node.orders import Orders, ask
from qkde.node.web import classical_app, kme_app

ID = "11111111-1111-4111-8111-111111111111"
KME, BOB = Identity("kme", "kme-a"), Identity("qkde", "qkde-b")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(orders, "ANSWER_WITHIN_S", 0.05)


def test_an_order_that_is_asked_for_again_is_the_same_round():
    ended, begun = threading.Event(), []

    def round_():
        begun.append(1)
        ended.wait(10)
        return {"outcome": "key"}

    followed = Orders()
    assert followed.follow(ID, round_) is None
    assert followed.follow(ID, round_) is None
    ended.set()
    while (report := followed.follow(ID, round_)) is None:
        pass
    assert report == {"outcome": "key"} == followed.follow(ID, round_)
    assert len(begun) == 1


def test_why_a_round_came_to_nothing_is_told_to_each_who_asks():
    def round_():
        raise Busy("link a-b is running another round")

    followed = Orders()
    for _ in range(2):
        with pytest.raises(Busy, match="another round"):
            while followed.follow(ID, round_) is None:
                pass


def test_who_waits_for_a_round_is_told_that_it_runs_and_asks_again():
    entity = SimpleNamespace(
        name="qkde-a", other_qkde=lambda link: BOB, order=lambda *_: None, order_from_alice=lambda *_: None
    )
    for app, path, caller in (
        (kme_app(entity, KME), "/v1/orders", KME),
        (classical_app(entity), "/v1/links/a-b/orders", BOB),
    ):
        body = {"link": "a-b", "block_id": ID, "owner": "kme-a"}
        answer = app.test_client().post(path, json=body, environ_overrides={CALLER: caller})
        assert (answer.status_code, answer.get_json()) == (202, {"running": True})
    replies = [Reply(202, b'{"running":true}'), Reply(202, b"{}"), Reply(200, b'{"outcome":"key"}')]
    asked = []
    peer = SimpleNamespace(request=lambda *_, json, timeout_s: asked.append(json) or replies[len(asked) - 1])
    assert ask(peer, "/v1/orders", {"block_id": ID}, lambda: False) == {"outcome": "key"}
    assert asked == [{"block_id": ID}] * 3
    assert ask(peer, "/v1/orders", {"block_id": ID}, lambda: True) is None
