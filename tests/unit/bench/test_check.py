"""The comparison of both ends: it must see a key that differs, one that comes twice, and a call that is refused."""

from types import SimpleNamespace
from uuid import uuid4

import pytest

from qkd_lab.bench import check
from qkd_lab.lab_folder import LabError
from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import KmeRefused, KmeUnreachable

REFUSED = KmeRefused(400, "one or more keys specified are not found")


class MadeUpPool:
    """Both KMEs in one: `faults` are what is wrong with them."""

    master = SimpleNamespace(id="m")
    slave = SimpleNamespace(id="s")

    def __init__(self, faults=()):
        self.faults = dict(faults)
        self.keys, self.fills = {}, 0

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def fill(self, count):
        self.fills += 1
        if self.faults.get("fills") == self.fills:
            raise LabError("no answer from kme-a")

    def client(self, sae):
        return self

    def enc_keys(self, slave, number):
        if "enc_keys" in self.faults:
            raise self.faults["enc_keys"]
        made = {str(uuid4()): b"same" if "repeats" in self.faults else uuid4().bytes for _ in range(number)}
        self.keys |= made
        return self._container(made)

    def dec_keys(self, master, key_ids):
        if "dec_keys" in self.faults:
            raise self.faults["dec_keys"]
        if not all(key_id in self.keys for key_id in key_ids):
            raise self.faults.get("again", REFUSED)
        found = {key_id: self.keys[key_id] for key_id in key_ids}
        if "keeps" not in self.faults:
            for key_id in key_ids:
                del self.keys[key_id]
        if "differs" in self.faults:
            found = {key_id: octets[::-1] for key_id, octets in found.items()}
        return self._container(found)

    def _container(self, keys):
        return SimpleNamespace(keys=[SimpleNamespace(key_id=key_id, octets=octets) for key_id, octets in keys.items()])


def checked(monkeypatch, *faults, requests=50, **errors):
    monkeypatch.setattr(check, "Pool", MadeUpPool({**dict.fromkeys(faults), **errors}))
    return check.run_check(None, None, (1, 128), clients=3, requests=requests, say=lambda _: None)


def test_a_well_network_is_found_well_with_every_key_counted(monkeypatch):
    found = checked(monkeypatch)
    assert found.is_well and found.delivered == found.equal == 50 + 5 * 128


@pytest.mark.parametrize(
    "fault, words",
    [
        ("differs", "690 different"),
        ("keeps", "690 came twice"),  # a slave can fetch them again
        ("repeats", "689 came twice"),  # a master gets the same key under other ids
    ],
)
def test_a_network_that_is_not_well_is_found_out(monkeypatch, fault, words):
    found = checked(monkeypatch, fault)
    assert not found.is_well and words in found.in_words()


@pytest.mark.parametrize(
    "error, kind",
    [
        (KmeRefused(503, "the store does not answer"), "503"),
        (KmeRefused(429, "too many requests"), "429"),
        (KmeUnreachable("the connection was closed"), "unreachable"),
        (MalformedAnswer("no JSON"), "malformed answer"),
    ],
)
def test_calls_that_bring_no_keys_are_counted_by_kind_and_the_rest_goes_on(monkeypatch, error, kind):
    found = checked(monkeypatch, enc_keys=error)
    assert found.lost_calls == {f"enc_keys {kind}": 55} and found.delivered == 0 and not found.is_well
    found = checked(monkeypatch, dec_keys=error)
    assert found.lost_calls == {f"dec_keys {kind}": 55} and f"55 × dec_keys {kind}" in found.in_words()
    assert found.delivered == found.not_compared == 690 and "690 not compared" in found.in_words()
    found = checked(monkeypatch, again=error)
    assert found.inconclusive == {kind: 55} and found.came_twice == 0 and f"55 × {kind}" in found.in_words()
    assert found.delivered == found.equal == 690 and not found.is_well


def test_what_was_found_before_a_pool_could_not_be_filled_again_is_told(monkeypatch):
    found = checked(monkeypatch, requests=10_000, fills=2)
    assert found.delivered == found.equal > 0 and "it ended early: no answer from kme-a" in found.in_words()
    assert not found.is_well
    with pytest.raises(LabError, match="no answer"):
        checked(monkeypatch, fills=1)
