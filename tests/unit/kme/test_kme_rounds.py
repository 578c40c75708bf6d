"""Rounds as a KME orders them."""

import json

from kme.model import KmeSettings, Link
from kme.rounds import Rounds
from mutual_tls import request_id
from mutual_tls.client import Reply

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
