"""Which link serves a request for additional slaves, at a site with several links; all around it is made up."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from kme.errors import BadRequest, TooFewKeys, Unavailable
from kme.model import Connection, KmeSettings, Link
from kme.on_demand import OnDemand
from kme.recipients import Recipients
from mutual_tls.client import Unreachable

SETTINGS = KmeSettings("kme-b", "b", "qkde-b", (Link("a-b", "kme-a"), Link("b-c", "kme-c")), on_demand_limit=1)
HOMES = {"a1": "kme-a", "a2": "kme-a", "b1": "kme-b", "b2": "kme-b", "c1": "kme-c"}
TO_A = Connection("kme-b", "kme-a", "b1", "a1", max_sae_id_count=5)
LOCAL = Connection("kme-b", "kme-b", "b1", "b2", max_sae_id_count=5)


class Owner:
    """Has so many keys to cut on each link, and remembers what it was asked for."""

    def __init__(self, **key_counts: int) -> None:
        self.key_counts = {name.replace("_", "-"): count for name, count in key_counts.items()}
        self.fills: list[tuple[str, str, int, Recipients | None]] = []
        self.wanted: list[tuple[str, int, int]] = []
        self.down: set[str] = set()
        self.records = self.requests = self.batches = self
        self.voiding = SimpleNamespace(void=None)

    def uncut_key_count(self, kme_id, link, size_bits):
        return self.key_counts[link]

    def fill(self, connection, link, peer, size_bits, count, recipients=None, request_id=None):
        if link.name in self.down:
            raise Unreachable("connection refused")
        self.fills.append((link.name, peer, count, recipients))
        return min(count, self.key_counts[link.name])

    def want(self, *what):
        self.wanted.append(what)

    def commit(self, *_):
        pass

    def start_voiding(self, request_id):
        return []


class Directory:
    def home(self, sae_id, kme_ids):
        home = HOMES.get(sae_id)
        return home if home in ("kme-b", *kme_ids) else None


def on_demand(owner):
    store = SimpleNamespace(take_keys=lambda connection_id, size, count, master, **_: [(uuid4(), b"")] * count)
    return OnDemand(SETTINGS, owner, store, Directory(), {"kme-a": "peer a", "kme-c": "peer c"})


@pytest.mark.parametrize(
    ("connection", "named", "link", "at_peer", "here"),
    [
        (TO_A, ["a2"], "a-b", {"a1", "a2"}, set()),
        (TO_A, ["b2", "b1"], "a-b", {"a1"}, {"b1", "b2"}),
        (LOCAL, ["b1"], "b-c", set(), {"b1", "b2"}),  # any link; this one has most
        (LOCAL, ["a1", "a2"], "a-b", {"a1", "a2"}, {"b2"}),
        (LOCAL, ["c1", "b1"], "b-c", {"c1"}, {"b1", "b2"}),
    ],
)
def test_the_link_is_one_that_reaches_all_recipients(connection, named, link, at_peer, here):
    owner = Owner(a_b=10, b_c=20)
    assert len(on_demand(owner).deliver(connection, named, 256, 3)) == 3
    ((name, peer, count, recipients),) = owner.fills
    assert (name, peer, count) == (link, {"a-b": "peer a", "b-c": "peer c"}[link], 3)
    assert (set(recipients.at_peer), set(recipients.here)) == (at_peer, here)


@pytest.mark.parametrize(
    ("connection", "named", "said"),
    [
        (TO_A, ["c1"], "SAE c1 is not registered at kme-b or kme-a; a third KME can't be reached"),
        (TO_A, ["x"], "SAE x is not registered at kme-b or kme-a"),
        (LOCAL, ["a1", "c1"], "SAEs of kme-b and one other KME, got some of kme-a and kme-c"),
        (LOCAL, ["x"], "SAE x is not registered at kme-b or kme-a or kme-c"),
    ],
)
def test_recipients_that_no_link_reaches_together_are_refused_before_anything_is_cut(connection, named, said):
    owner = Owner(a_b=10, b_c=10)
    with pytest.raises(BadRequest) as refused:
        on_demand(owner).deliver(connection, named, 256, 3)
    assert said in refused.value.message and not owner.fills


def test_what_no_link_has_enough_bits_for_is_noted_at_the_richest():
    owner = Owner(a_b=4, b_c=7)
    with pytest.raises(TooFewKeys) as refused:
        on_demand(owner).deliver(LOCAL, ["b1"], 512, 8)
    assert refused.value.available_count == 7
    assert owner.wanted == [("b-c", 512, 8)] and not owner.fills


def test_a_pool_of_two_saes_here_is_filled_from_one_link_after_the_other():
    owner = Owner(a_b=4, b_c=20)
    on_demand(owner).fill_pool(LOCAL, 512, 10)
    assert [(link, count) for link, _, count, _ in owner.fills] == [("a-b", 10), ("b-c", 6)]


def test_a_peer_that_does_not_answer_is_passed_over_where_another_link_does_as_well():
    owner = Owner(a_b=20, b_c=20)
    owner.down = {"a-b"}
    on_demand(owner).fill_pool(LOCAL, 512, 10)
    assert [(link, count) for link, _, count, _ in owner.fills] == [("b-c", 10)]
    with pytest.raises(Unavailable, match="connection refused"):
        on_demand(owner).fill_pool(TO_A, 512, 10)


def test_no_more_requests_than_the_limit_wait_at_once_and_the_limit_is_given_back():
    owner = Owner(a_b=10, b_c=10)
    served = on_demand(owner)

    def is_there():
        with pytest.raises(Unavailable, match="too many requests"):
            served.fill_pool(TO_A, 512, 1)
        return True

    for _ in range(2):
        assert served.deliver(TO_A, ["b2"], 256, 1, is_there)
