"""The comparison of both ends: it must see a key that differs, one that comes twice, and a call that is refused."""

from types import SimpleNamespace
from uuid import uuid4

import pytest

from qkd_lab.bench import check
from sae_demo.etsi_client import KmeRefused

REFUSED = KmeRefused(400, "one or more keys specified are not found")


class MadeUpPool:
    """Both KMEs in one: `faults` are what is wrong with them."""

    master = SimpleNamespace(id="m")
    slave = SimpleNamespace(id="s")

    def __init__(self, faults=()):
        self.faults = faults
        self.keys = {}

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def fill(self, count):
        pass

    def client(self, sae):
        return self

    def enc_keys(self, slave, number):
        if "refuses" in self.faults:
            raise KmeRefused(503, "too few keys")
        made = {str(uuid4()): b"same" if "repeats" in self.faults else uuid4().bytes for _ in range(number)}
        self.keys |= made
        return self._container(made)

    def dec_keys(self, master, key_ids):
        if not all(key_id in self.keys for key_id in key_ids):
            raise REFUSED
        found = {key_id: self.keys[key_id] for key_id in key_ids}
        if "keeps" not in self.faults:
            for key_id in key_ids:
                del self.keys[key_id]
        if "differs" in self.faults:
            found = {key_id: octets[::-1] for key_id, octets in found.items()}
        return self._container(found)

    def _container(self, keys):
        return SimpleNamespace(keys=[SimpleNamespace(key_id=key_id, octets=octets) for key_id, octets in keys.items()])


def checked(monkeypatch, *faults):
    monkeypatch.setattr(check, "Pool", MadeUpPool(faults))
    return check.run_check(None, None, (1, 128), clients=3, requests=50, say=lambda _: None)


def test_a_well_network_is_found_well_with_every_key_counted(monkeypatch):
    found = checked(monkeypatch)
    assert found.is_well and found.delivered == found.equal == 50 + 5 * 128


@pytest.mark.parametrize(
    "fault, words",
    [
        ("differs", "690 different"),
        ("keeps", "690 came twice"),  # a slave can fetch them again
        ("repeats", "689 came twice"),  # a master gets the same key under other ids
        ("refuses", "enc_keys 503"),
    ],
)
def test_a_network_that_is_not_well_is_found_out(monkeypatch, fault, words):
    found = checked(monkeypatch, fault)
    assert not found.is_well and words in found.in_words()
