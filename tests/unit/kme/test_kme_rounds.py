"""Rounds as a KME orders them."""

import json

import pytest

from kme.model import KmeSettings, Link
from kme.rounds import Rounds
from mutual_tls import request_id
from mutual_tls.client import Reply
from mutual_tls.identity import Identity

LINK = Link("a-b", "kme-b")


def test_a_round_is_ordered_under_the_id_of_its_block():
    orders = []

    class Qkde:
        def request(self, method, path, *, json: dict, timeout_s):
            orders.append((json["block_id"], request_id.current()))
            return Reply(200, REPORT)

    class Reports:
        def add(self, block_id, link, report):
            orders.append((str(block_id), request_id.current()))

    settings = KmeSettings("kme-a", "a", "qkde-a", (LINK,))
    rounds = Rounds(settings, LINK, Qkde(), Reports(), lambda: 0.0, lambda work: work())
    assert rounds.order() and rounds.order()
    assert len(orders) == 4 and len(set(orders)) == 2
    assert all(block_id == known_by for block_id, known_by in orders)
    assert request_id.current() is None


REPORT = json.dumps({"outcome": "key", "secret_bits": 8, "qber": 0.01}).encode()


@pytest.mark.parametrize("octets", [b"<html>a secret</html>", b"\xff", b"[" * 100_000])
def test_a_report_that_is_not_json_is_a_round_without_a_key_that_says_so(caplog, octets):
    class Qkde:
        def request(self, method, path, *, json: dict, timeout_s):
            return Reply(200, octets, Identity("qkde", "qkde-a"))

    rounds = Rounds(KmeSettings("kme-a", "a", "qkde-a", (LINK,)), LINK, Qkde(), None, lambda: 0.0, lambda work: work())
    assert rounds.order()
    (said,) = [one.message for one in caplog.records]
    assert said == "link a-b: no round: qkde qkde-a answered with status 200 and what is not JSON"
