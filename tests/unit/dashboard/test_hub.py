"""What every browser hears."""

import json
import threading

from qkd_lab.dashboard.hub import KEPT_MESSAGES, Hub


def messages(text: bytes) -> list[tuple[str, dict]]:
    found = []
    for block in text.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def listener(hub: Hub):
    heard = hub.listen()
    assert next(heard).startswith(b"retry:")
    return heard


def test_a_browser_hears_everything_first_and_then_each_tick():
    hub = Hub()
    hub.publish({"tick": 1}, {"all": 1})
    heard = listener(hub)
    assert messages(next(heard)) == [("hello", {"all": 1})]
    hub.publish({"tick": 2}, {"all": 2})
    hub.publish({"tick": 3}, {"all": 3})
    assert messages(next(heard)) == [("tick", {"tick": 2}), ("tick", {"tick": 3})]


def test_a_browser_that_was_too_slow_hears_everything_anew():
    hub = Hub()
    hub.publish({"tick": 0}, {"all": 0})
    heard = listener(hub)
    next(heard)
    for number in range(1, KEPT_MESSAGES + 3):
        hub.publish({"tick": number}, {"all": number})
    assert messages(next(heard)) == [("hello", {"all": KEPT_MESSAGES + 2})]


def test_a_browser_that_waits_is_told_as_soon_as_there_is_something():
    hub = Hub()
    heard = listener(hub)
    timer = threading.Timer(0.05, hub.publish, ({"tick": 1}, {"all": 1}))
    timer.start()
    assert messages(next(heard)) == [("hello", {"all": 1})]


def test_a_closed_hub_lets_its_browsers_go():
    hub = Hub()
    heard = listener(hub)
    threading.Timer(0.05, hub.close).start()
    assert list(heard) == []


def test_text_with_line_breaks_stays_one_message():
    hub = Hub()
    nasty = {"text": "one\n\nevent: tick\ndata: {}"}
    hub.publish({}, nasty)
    assert messages(next(listener(hub))) == [("hello", nasty)]
