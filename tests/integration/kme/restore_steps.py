"""Steps that the tests of restored, lost and crashed stores have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from store_copies import PostgresCopies, RedisCopies

from kme.errors import Unavailable

from kme_steps import assert_accounts

ENDS = {"sae-a": ("a", "sae-b"), "sae-b": ("b", "sae-a")}  # master: its site, and its slave


@dataclass
class Stores:
    """Those of one site."""

    redis: RedisCopies
    postgres: PostgresCopies

    def copy(self) -> tuple[Path, str]:
        return self.redis.copy(), self.postgres.copy()

    def restore(self, which: str, copies: tuple[Path | None, str | None]) -> None:
        if "redis" in which:
            self.redis.restore(copies[0])
        if "postgres" in which:
            self.postgres.restore(copies[1])


@dataclass
class Received:
    """All that SAEs were given."""

    ids: Counter[tuple[str, str]] = field(default_factory=Counter)  # role and key id
    hashes: dict[str, str] = field(default_factory=dict)  # of a key's bits: its id

    def enter(self, role: str, keys: list[dict]) -> None:
        for key in keys:
            self.ids[role, key["key_ID"]] += 1
            assert self.ids[role, key["key_ID"]] == 1, f"{key['key_ID']} was delivered twice to a {role}"
            known = self.hashes.setdefault(hashlib.sha256(key["key"].encode()).hexdigest(), key["key_ID"])
            assert known == key["key_ID"], "bits were delivered twice"


def take(network, received, master="sae-a", count=1):
    """A master asks; its keys, or its answer where it gets none."""
    site, slave = ENDS[master]
    answer = getattr(network, site).sae(master).post(f"/api/v1/keys/{slave}/enc_keys", json={"number": count})
    if answer.status_code != 200:
        return answer
    received.enter(f"master {master}", answer.get_json()["keys"])
    return answer.get_json()["keys"]


def give(network, received, keys, master="sae-a"):
    """The slave fetches one by one; the status codes."""
    slave = ENDS[master][1]
    site, codes = getattr(network, ENDS[slave][0]), []
    for key in keys:
        body = {"key_IDs": [{"key_ID": key["key_ID"]}]}
        answer = site.sae(slave).post(f"/api/v1/keys/{master}/dec_keys", json=body)
        codes.append(answer.status_code)
        if answer.status_code == 200:
            assert answer.get_json() == {"keys": [key]}
            received.enter(f"slave {slave}", [key])
    return codes


def exchange(network, received, count=3) -> list[dict]:
    """Keys from a to b and back, fetched at both ends; those that were not fetched yet of another few, last."""
    for master in ENDS:
        keys = take(network, received, master, count)
        assert isinstance(keys, list), keys.get_json()
        assert give(network, received, keys, master) == [200] * count
    return take(network, received, "sae-a", 2)


def epoch(site) -> int:
    return site.entity.witness_store.read().own.epoch


def epochs(network) -> tuple[int, int]:
    return epoch(network.a), epoch(network.b)


def is_back(network) -> bool:
    """Both links' ends have confirmed, nothing is left of old epochs, and both pools are filled."""
    for site in (network.a, network.b):
        known = site.entity.witness_store.read()
        if not known.confirmed or known.has_stale:
            return False
    return all(
        site.entity.keystore.stored_key_count(one.connection_id, 256) >= 10
        for site in (network.a, network.b)
        for one in site.entity.catalogue.refresh()
        if one.source_kme_id == site.kme_id
    )


def step(network) -> None:
    """As the scheduler's threads do: what fails is tried again with the next step."""
    network.qkde.offer()
    for site in (network.a, network.b):
        with suppress(Unavailable):
            site.scheduler.step()
        site.clock[0] += 1.0


def step_until(network, condition, limit=40) -> None:
    for _ in range(limit):
        with suppress(Unavailable):
            if condition():
                return
        step(network)
    assert condition(), f"not reached in {limit} steps"


def assert_service_is_back(network, received) -> None:
    for _ in range(2):  # a connection that was cut is noticed by the first
        step(network)
    step_until(network, lambda: is_back(network))
    for master in ENDS:
        keys = take(network, received, master, 10)
        assert isinstance(keys, list), keys.get_json()
        assert give(network, received, keys, master) == [200] * 10
    assert_accounts(network)


def bonds_in_use(site) -> set[bytes]:
    client = site.entity.keystore._redis
    return {client.hget(name, "bond") for name in client.scan_iter("block:*")}
