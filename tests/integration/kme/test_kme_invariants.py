"""The design's invariants 1-5 and 7, looked at through everything that SAEs were given in a long run of mixed requests,
lost answers, lost calls and restarts. Fixed seeds."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

from kme_steps import SITES, ask, assert_accounts, connected, fetch

PATHS = [  # master, slave, and who may be named beside it
    ("sae-a", "other", ["third-a", "third-b", "sae-a", "sae-b"]),
    ("sae-b", "sae-a", []),
    ("sae-a", "third-a", ["sae-b", "third-b"]),
    ("third-b", "third-b", ["sae-a", "sae-b"]),
]


class Witness:
    """All that SAEs hold: each answer of a KME is entered as the SAE got it."""

    def __init__(self) -> None:
        self.values: dict[str, set[str]] = defaultdict(set)
        self.given: Counter[tuple[str, str]] = Counter()
        self.waiting: list[tuple[str, str, dict]] = []  # recipient, master, key as the master got it

    def taken(self, master, recipients, keys):
        for key in keys:
            self._enter("master", key)
            self.waiting += [(sae_id, master, key) for sae_id in recipients]

    def fetched(self, sae_id, keys):
        for key in keys:
            self._enter(sae_id, key)

    def _enter(self, role, key):
        self.values[key["key_ID"]].add(key["key"])
        self.given[role, key["key_ID"]] += 1

    def check(self):
        assert all(len(values) == 1 for values in self.values.values()), "two SAEs hold other bits under one id"
        assert max(self.given.values()) == 1, "a key was delivered twice to one role"
        long = [value for values in self.values.values() for value in values if len(value) > 20]
        assert len(set(long)) == len(long), "bits were used for two keys"


@pytest.fixture
def busy(network):
    for master, slave, others in PATHS:
        if (master, slave) != ("sae-b", "sae-a"):
            connected(network, master, slave, max_sae_id_count=len(others), max_keys_count=10, max_key_per_request=5)
    for sae_id in SITES:
        getattr(network, SITES[sae_id]).operator.post("/v1/saes", json={"sae_id": sae_id})
    network.step(4)
    return network


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_asked_lost_and_restarted_every_key_is_delivered_once_to_each_and_the_same(busy, restarted, seed):
    draw, witness, refused = random.Random(seed), Witness(), Counter()
    for _ in range(120):
        step = draw.random()
        if step < 0.5:
            request_keys(busy, draw, witness, refused)
        elif step < 0.75 and witness.waiting:
            fetch_one(busy, witness, witness.waiting.pop(draw.randrange(len(witness.waiting))))
        elif step < 0.85:
            site = draw.choice((busy.a, busy.b))
            next(iter(site.peers.values())).faults = [
                draw.choice(["", "lose", "refuse"]) for _ in range(draw.randint(1, 4))
            ]
        elif step < 0.88:
            restarted(draw.choice(["kme-a", "kme-b"]))
        else:
            busy.step()
            busy.a.clock[0] += 8.0
            busy.b.clock[0] += 8.0
    assert sum(witness.given.values()) > 50 and refused[503] > 0  # it was a run worth looking at
    for site in (busy.a, busy.b):
        next(iter(site.peers.values())).faults = []
    busy.step(2)
    for site in (busy.a, busy.b):
        site.clock[0] += 40.0
    busy.step(3)
    # Invariant 4: what a master was given, each recipient can still fetch; and 1: only once.
    for one in witness.waiting:
        fetch_one(busy, witness, one)
    witness.check()
    for site in (busy.a, busy.b):
        requests = site.entity.request_records
        assert not requests.unsettled("a-b", "recorded") and not requests.unsettled("a-b", "voiding")
    assert_accounts(busy)


def request_keys(network, draw, witness, refused):
    master, slave, others = draw.choice(PATHS)
    named = draw.sample(others, draw.randint(0, len(others))) if draw.random() < 0.6 else []
    request = {"number": draw.randint(1, 4), "size": draw.choice([256, 256, 128, 512])}
    if named:
        request["additional_slave_SAE_IDs"] = named
    answer = ask(network, master, slave, **request)
    if answer.status_code == 200:
        keys = answer.get_json()["keys"]
        assert len(keys) == request["number"]
        witness.taken(master, [slave, *named], keys)
    else:
        assert answer.status_code == 503, answer.get_json()
        refused[answer.status_code] += 1


def fetch_one(network, witness, waiting):
    sae_id, master, key = waiting
    strangers = set(SITES) - {one for one, _, other in witness.waiting if other["key_ID"] == key["key_ID"]}
    answer = fetch(network, sae_id, master, [key])
    assert answer.status_code == 200, (sae_id, master, answer.get_json())
    witness.fetched(sae_id, answer.get_json()["keys"])
    assert fetch(network, sae_id, master, [key]).status_code == 400
    for stranger in strangers - {sae_id}:
        assert fetch(network, stranger, master, [key]).status_code in (400, 401)


def test_many_recipients_at_once_get_each_copy_once(busy):
    busy.step_until(lambda: ask(busy, "sae-a", "other", additional_slave_SAE_IDs=["third-b"]).status_code == 200)
    answer = ask(busy, "sae-a", "other", number=5, additional_slave_SAE_IDs=["third-b", "third-a"])
    keys = answer.get_json()["keys"]
    callers = ["other", "third-b", "third-a"] * 6
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda sae_id: (sae_id, fetch(busy, sae_id, "sae-a", keys).status_code), callers))
    assert Counter(statuses) == Counter({(one, 200): 1 for one in callers} | {(one, 400): 5 for one in callers})
    assert_accounts(busy)
