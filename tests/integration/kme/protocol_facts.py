"""What has really happened to every key of two KMEs, and the design's invariants 1-5 and 7 over it.

Nothing here believes what the KMEs record: a key's range is found by looking for its bits in the blocks, a delivery is
what left a store, and copies are counted one by one.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from kme.keywrap import key_context

from kme_steps import SITES, assert_batches

_BEFORE_KEY_IN_POOL, _BEFORE_KEY_IN_COPY = 58, 13  # octets
_HEAD = 32  # octets of a block that its confirmation burns


class Facts:
    def __init__(self) -> None:
        self.blocks: dict[UUID, bytes] = {}
        self._bits: dict[UUID, bytes] = {}
        self._ranges: dict[UUID, list[tuple[int, int, UUID]]] = defaultdict(list)
        self._masters: dict[UUID, str] = {}  # of every key that has left a pool
        self._connections: dict[UUID, UUID] = {}
        self._recipients: dict[UUID, tuple[str, ...]] = {}
        self._given_at: dict[UUID, float] = {}
        self._fetched: set[tuple[UUID, str]] = set()
        self._excused: set[UUID] = set()  # keys of connections that were removed
        self._removed: set[UUID] = set()
        self._once_removed: set[UUID] = set()
        self._asking: list[tuple[str, ...]] = []
        self._batches: dict[str, dict[str, Any]] = {}
        self._sent_at: dict[UUID, float] = {}

    # What is seen

    @contextmanager
    def asked(self, recipients: tuple[str, ...]) -> Iterator[None]:
        """A request for keys to these recipients is being served."""
        self._asking.append(recipients)
        try:
            yield
        finally:
            self._asking.pop()

    def saw(self, entity: Any, script: str, keys: list[str], args: list[Any], found: Any, now_s: float) -> None:
        """A script took place in a store, whether or not anyone hears of it."""
        if script == "take_keys" and not isinstance(found, int) and found[0] not in (b"quota", b"closed", b"changed"):
            connection_id, master = UUID(bytes=args[2]), args[3]
            for record in found:
                key_id = UUID(bytes=record[:16])
                self._enter(entity, key_id, connection_id, record[_BEFORE_KEY_IN_POOL:])
                assert key_id not in self._masters, "invariant 1: a key was given to its master twice"
                assert now_s < self._sent_at[key_id] + entity.settings.pool_ttl_s, "a key was given after its end"
                self._masters[key_id] = master
                self._recipients[key_id], self._given_at[key_id] = self._asking[-1], now_s
        if script == "fetch_keys" and found[0] == b"ok":
            caller, key_ids = args[0], [UUID(bytes=one) for one in args[4:]]
            _, connection_ids, *copies = found
            of_each = connection_ids if len(connection_ids) > 1 else connection_ids * len(key_ids)
            for key_id, connection_id, copy in zip(key_ids, of_each, copies, strict=True):
                self._enter(entity, key_id, UUID(connection_id.decode()), copy[_BEFORE_KEY_IN_COPY:])
                assert caller in self._recipients[key_id], "invariant 3: someone else was given a key"
                assert (key_id, caller) not in self._fetched, "invariant 1: a recipient was given a key twice"
                self._fetched.add((key_id, caller))

    def sent(self, message: Any, now_s: float) -> None:
        """Batches are sent: no range of a block is in two of them, and one that is sent again is as it was."""
        if message.path != "/v1/batches":
            return
        batch = message.body
        known = self._batches.setdefault(batch["batch_id"], batch)
        assert known == batch, "a batch was sent again with other content"
        begin, end = _range(batch)
        for other in self._batches.values():
            if other is not known and other["block_id"] == batch["block_id"]:
                first, last = _range(other)
                assert end <= first or last <= begin, "invariant 5: a range is in two batches"
        for key_id in batch["key_ids"]:
            self._sent_at.setdefault(UUID(key_id), now_s)

    def removed(self, connection_id: UUID) -> None:
        self._removed.add(connection_id)
        self._once_removed.add(connection_id)

    def master_answered(self, master: str, number: int, keys: Sequence[dict[str, str]]) -> None:
        assert len(keys) == number
        for key in keys:
            key_id = UUID(key["key_ID"])
            assert self._masters.get(key_id) == master, "a master was told a key that did not leave its pool"
            assert base64.b64decode(key["key"]) == self._bits[key_id]

    def recipient_answered(self, key_id: UUID, keys: Sequence[dict[str, str]]) -> None:
        (key,) = keys
        assert UUID(key["key_ID"]) == key_id and base64.b64decode(key["key"]) == self._bits[key_id]

    # What follows

    def waiting(self) -> list[tuple[UUID, str, str]]:
        """Key, recipient that has not fetched it and can, and master."""
        return [
            (key_id, sae_id, self._masters[key_id])
            for key_id, sae_ids in self._recipients.items()
            for sae_id in sae_ids
            if (key_id, sae_id) not in self._fetched and key_id not in self._excused
        ]

    def known_to_masters(self) -> list[tuple[UUID, str]]:
        return list(self._masters.items())

    def counts(self) -> Counter[str]:
        return Counter({"given": len(self._masters), "fetched": len(self._fetched), "batches": len(self._batches)})

    def may_fetch(self, key_id: UUID, sae_id: str) -> bool:
        return sae_id in self._recipients[key_id] and (key_id, sae_id) not in self._fetched

    def check(self, sites: dict[str, Any], now_s: float) -> None:
        copies = {kme_id: self._stored(site.entity) for kme_id, site in sites.items()}
        self._excuse(sites, now_s)
        for key_id, sae_id, _ in self.waiting():
            there = copies[f"kme-{SITES[sae_id]}"]
            assert (key_id, sae_id) in there, f"invariant 4: {sae_id} can't fetch a key that its master was given"

    def check_orphans(self, sites: dict[str, Any], now_s: float) -> None:
        """When nothing is under way any more, recipients' copies are of keys that a master has, or can have."""
        there = set().union(*(self._stored(site.entity) for site in sites.values()))
        for key_id, sae_id in there:
            is_young = now_s < self._sent_at[key_id] + next(iter(sites.values())).entity.settings.pool_ttl_s
            if sae_id and is_young and self._connections[key_id] not in self._once_removed:
                can_be_had = key_id in self._masters or (key_id, "") in there
                assert can_be_had, "a copy is left of a key that no master can get"

    def _stored(self, entity: Any) -> set[tuple[UUID, str]]:
        """Looks at every copy that a store holds, and counts them against the account: (key, recipient or '')."""
        client, found, bits = entity.keystore._redis, set(), 0
        names = sorted(client.keys("*"))
        for name in names:
            records = []
            if name.startswith(b"pool:"):
                records = [(one[:16], "", one[_BEFORE_KEY_IN_POOL:]) for one in client.lrange(name, 0, -1)]
            elif name.startswith(b"copies:"):
                records = [(k[:16], k[16:].decode(), v[_BEFORE_KEY_IN_COPY:]) for k, v in client.hgetall(name).items()]
            for octets, sae_id, wrapped in records:
                key_id, entitled = UUID(bytes=octets), client.hget("entitlement", octets)
                self._enter(entity, key_id, UUID(entitled[:36].decode()), wrapped)
                assert sae_id or key_id not in self._masters, "invariant 1: a key given to its master is in a pool"
                assert (key_id, sae_id) not in self._fetched, "invariant 1: a fetched copy is still there"
                assert (key_id, sae_id) not in found, "two copies for one recipient"
                found.add((key_id, sae_id))
                bits += 8 * len(self._bits[key_id])
        assert_batches(client)
        uncut = sum(int(client.hget(name, "uncut_bits")) for name in names if name.startswith(b"block:"))
        account = entity.account()
        assert account.stored == bits, f"invariant 7: {account}, and {bits} bits of keys are there"
        assert account.remainder + account.reserved == uncut, f"invariant 7: {account}, and {uncut} bits are uncut"
        return found

    def _enter(self, entity: Any, key_id: UUID, connection_id: UUID, wrapped: bytes) -> None:
        bits = entity.keyring.unwrap(wrapped, key_context(key_id.bytes, connection_id.bytes))
        self._connections[key_id] = connection_id
        if key_id in self._bits:
            assert self._bits[key_id] == bits, "invariant 2: the two ends hold other bits"
            return
        self._bits[key_id] = bits
        block_id, begin = next((one, at) for one, block in self.blocks.items() if (at := block.find(bits)) >= 0)
        end = begin + len(bits)
        assert begin >= _HEAD, "invariant 5: the bits of the confirmation are in a key"
        for first, last, other in self._ranges[block_id]:
            assert end <= first or last <= begin, f"invariant 5: keys {key_id} and {other} share bits"
        self._ranges[block_id].append((begin, end, key_id))

    def _excuse(self, sites: dict[str, Any], now_s: float) -> None:
        """Keys of a removed connection are destroyed, those whose time is over as well: nobody waits for them."""
        for key_id, at in self._given_at.items():
            entity = next(iter(sites.values())).entity
            if self._connections[key_id] in self._removed or now_s >= at + entity.settings.fetch_ttl_s:
                self._excused.add(key_id)
        for connection_id in list(self._removed):
            entities = [site.entity for site in sites.values()]
            shut = any(one.keystore._redis.sismember("removed", connection_id.bytes) for one in entities)
            if not shut and not any(_is_removed(one, connection_id) for one in entities):
                self._removed.discard(connection_id)


def _is_removed(entity: Any, connection_id: UUID) -> bool:
    with entity.database.transaction() as sql:
        sql.execute("SELECT 1 FROM connection WHERE connection_id = %s AND removed", (connection_id,))
        return sql.fetchone() is not None


def _range(batch: dict[str, Any]) -> tuple[int, int]:
    begin = batch["offset_bits"]
    return begin, begin + batch["key_size_bits"] * len(batch["key_ids"])
