"""Block and key bits, wrapped, in the site's Redis. What must happen together is one Lua script (db/lua).

Layout, with 16-byte binary UUIDs inside values:
`block:{id}` hash bits, version, uncut_bits, bond · `cuts:{id}` hash of a block's cuts: id → range and digest ·
`pool:{connection or request}:{size}` list of key id | moment | end | bond | wrapped key, at the master's KME ·
`batches` hash end | pool → how many of its keys end then, `ends:pool` sorted set of these ·
`copies:{connection}` hash key id | recipient's SAE id → end | wrapped key, a copy for each recipient of this site ·
`entitlement` hash key id → connection, bond, recipients and master, kept after delivery (see `entitlement`), until its
end in the sorted set `ends:entitlement`, which is that of its copies, too ·
`blocks` set of the block ids seen · `account` hash · `byte_counts` hash counts (wrapped), version ·
`audit` stream · `audit_end` hash, the trail's end in Postgres · `kek` fingerprint of the current one ·
`retired_keks` set and `rewrapped` count of a rotation · `layout` the version of all this ·
`clock` hash · `catalogue` mark of the last change of SAEs and connections · `removed` set of connections that get no
key · `revisions` hash connection → its revision that was followed · `calls:{sae}`, `quota:{sae}` what its limits
count · `refusals` hash of refused calls by kind · `witness`, `peers`, `bonds`, `confirmed`, `stale`:
db/lua/witness.lua.
A moment is when the key was recorded, an end when its time is over: 13 digits of milliseconds by the site's fast clock,
that of copies by its slow one (db/lua/clock.lua, db/lua/records.lua). There is no EXPIRE anywhere: what Redis removes
by itself would be missing in the account.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from kme.audit_chain import End
from kme.errors import TooManyRequests, Unavailable, Unconfirmed
from kme.keyring import KeyRing
from kme.model import Block, Connection, SaeLimits
from kme.scripted_redis import ScriptedRedis

log = logging.getLogger(__name__)

ACCOUNT_ENTRIES = ("received", "copied", "remainder", "stored", "delivered", "burned", "destroyed", "expired")
LAYOUT = b"2"
BEFORE_KEY_IN_POOL = 16 + 13 + 13 + 16
BEFORE_KEY_IN_COPY = 13
_UUID_LENGTH = 36


@dataclass(frozen=True)
class StoredBlock:
    """A block's wrapped bits; those of ranges already cut are zero."""

    version: int
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True)
class NotFetched:
    """Nothing changed. `is_entitled`: no key was for others alone, but one or more are not here, or not any more; of
    `own_count` keys the caller is a recipient."""

    is_entitled: bool
    own_count: int


class CatalogueChanged(Exception):
    """Nothing was done: SAEs or connections are not what the caller went by any more."""


@dataclass(frozen=True)
class Cut:
    """What `cut.lua` does in one step. `entry` of the account: `stored`, or `burned` or `destroyed` where nobody here
    gets the keys; `pool_id`: the connection or request whose pool gets a copy; `keys`: pairs of id and wrapped key."""

    cut_id: bytes
    block_id: UUID
    digest: bytes
    first_bit: int
    end_bit: int
    entry: str
    connection_id: UUID | None = None
    key_size_bits: int = 0
    pool_id: UUID | None = None
    recorded_ms: int = 0
    pool_ttl_s: int = 0
    recipients: Sequence[str] = ()
    entitlement: bytes = b""
    keys: Sequence[tuple[UUID, bytes]] = field(default=(), repr=False)


@dataclass(frozen=True)
class Entitlement:
    """Who a key was made by and for, known as long as the store, also when nobody can get it any more."""

    connection_id: UUID
    master_sae_id: str
    recipients: tuple[str, ...]


def entitlement(connection_id: UUID, master_sae_id: str, recipients: Sequence[str]) -> bytes:
    """Who may fetch a key, as the scripts read it; cut.lua puts the block's bond behind the connection's id. SAE ids
    are printable, so neither separator occurs in one."""
    return "\0".join([str(connection_id), *recipients, f"\n{master_sae_id}"]).encode()


UNCHECKED = "the key store was not compared with the database yet since it started: try again"


class KeyStore(ScriptedRedis):
    """Every method raises Unavailable where Redis does not answer; what it was asked may have taken place then."""

    def claim(self, keyring: KeyRing) -> None:
        """Makes an empty store this KME's, and the KEK it names the ring's current one. Raises Unavailable where it
        holds what another KEK has encrypted; not where a rotation has destroyed that one (db/lua/replace_kek.lua). And
        where what it holds is laid out as another version of this software does it.
        """
        with self.answering() as store:
            store.set("catalogue", uuid4().bytes, nx=True)
            known = store.get("kek")
            if known is None:
                store.set("layout", LAYOUT, nx=True)
            if store.get("layout") != LAYOUT:
                raise Unavailable(
                    "the key store was filled by another version of this software, which stores keys otherwise:"
                    " empty it (FLUSHALL), and both KMEs make new ones"
                )
            if known is None:
                store.set("kek", keyring.newest(), nx=True)
            elif keyring.was_destroyed(known):
                self.run("replace_kek", ["kek", "retired_keks", "audit"], [known, keyring.newest()])
                log.error("the key store was restored from before a rotation: nobody can read what it holds")
            else:
                keyring.use(known)
                return
            keyring.use(store.get("kek"))

    def store_block(self, block: Block, wrapped: bytes, counts: bytes, counts_version: int, peer_kme_id: str) -> str:
        """`done`, `again` where the id was ever here, `rekeyed` or `raced`: see db/lua/store_block.lua. `wrapped` is
        version 0; `counts` are the wrapped byte counts with this block's, made from those of `counts_version`.

        Raises Unconfirmed until `peer_kme_id` has confirmed the witness.
        """
        keys = [f"block:{block.block_id}", "blocks", "account", "audit", "byte_counts"]
        args = [block.block_id.bytes, wrapped, block.length_bits, block.link, block.owner_kme_id]
        outcome = self.run("store_block", keys, [*args, counts, counts_version, peer_kme_id])
        if outcome == b"closed":
            raise Unconfirmed(peer_kme_id)
        return outcome.decode()

    def byte_counts(self) -> tuple[bytes | None, int]:
        """The wrapped byte counts and their version."""
        with self.answering():
            counts, version = self._redis.hmget("byte_counts", "counts", "version")
        return counts, int(version or 0)

    def block(self, block_id: UUID) -> StoredBlock | None:
        with self.answering():
            wrapped, version = self._redis.hmget(f"block:{block_id}", "bits", "version")
        return None if wrapped is None else StoredBlock(int(version), wrapped)

    def cut(self, cut: Cut, version: int, rewrapped: bytes, copies_ttl_s: int = 0) -> str:
        """`done`, `again`, or why nothing changed: see db/lua/cut.lua."""
        keys = [f"block:{cut.block_id}", f"cuts:{cut.block_id}", "account", "audit", "entitlement", *_stores_of(cut)]
        keys.append("removed")
        args: list[Any] = [cut.cut_id, cut.digest, version, rewrapped, cut.first_bit, cut.end_bit, cut.entry]
        args += [_octets(cut.connection_id), cut.entitlement, self.now(), int(cut.pool_id is not None)]
        args += [len(cut.recipients), cut.recorded_ms or "", cut.pool_ttl_s * 1000, copies_ttl_s * 1000]
        args += cut.recipients
        for key_id, wrapped in cut.keys:
            args += (key_id.bytes, wrapped)
        return self.run("cut", keys, args).decode()

    def void(self, cut: Cut, key_ids: Sequence[UUID]) -> str:
        """Takes back what `cut` stored and nobody was given yet: see db/lua/void.lua."""
        keys = [f"cuts:{cut.block_id}", "account", "audit", *_stores_of(cut)]
        args: list[Any] = [cut.cut_id, cut.digest, cut.first_bit, cut.end_bit, _octets(cut.connection_id)]
        args += [int(cut.pool_id is not None), len(cut.recipients), *cut.recipients, *(one.bytes for one in key_ids)]
        return _checked(self.run("void", keys, args)).decode()

    def close_block(self, block_id: UUID, entry: str) -> int:
        """The number of bits that were left and go to `entry` of the account now; 0 where there is no such block."""
        keys = [f"block:{block_id}", f"cuts:{block_id}", "blocks", "account", "audit"]
        return int(_checked(self.run("close_block", keys, [block_id.bytes, entry])))

    def uncut_bits(self, block_ids: Sequence[UUID]) -> list[int]:
        """Of each block, the bits that are here and not cut; 0 where it is not here."""
        with self.answering():
            asked = self._redis.pipeline(transaction=False)
            for block_id in block_ids:
                asked.hget(f"block:{block_id}", "uncut_bits")
            return [int(bits or 0) for bits in asked.execute()]

    def stored_key_count(self, connection_id: UUID, key_size_bits: int) -> int:
        return self.stored_key_counts([(connection_id, key_size_bits)])[0]

    def stored_key_counts(self, pools: Sequence[tuple[UUID, int]]) -> list[int]:
        """Of each pool, a connection's id and a key size in bits; all are asked for at once."""
        with self.answering():
            asked = self._redis.pipeline(transaction=False)
            for connection_id, key_size_bits in pools:
                asked.llen(f"pool:{connection_id}:{key_size_bits}")
            return asked.execute()

    def take_keys(
        self,
        connection_id: UUID,
        key_size_bits: int,
        count: int,
        master_sae_id: str,
        *,
        max_age_ms: int | None = None,
        pool_id: UUID | None = None,
        limits: SaeLimits | None = None,
        mark: bytes | None = None,
    ) -> list[tuple[bytes, bytes]] | int:
        """All `count` keys, of each the octets of its id and the wrapped key, gone from the pool now; or how many there
        are, where they are too few.

        With `max_age_ms` only keys stored that recently count. `pool_id`: the request with a pool of its own. Raises
        TooManyRequests where the master's quotas, of `limits`, leave no room for them now; CatalogueChanged where
        `mark`, if given, is not the present one.
        """
        keys = [f"pool:{pool_id or connection_id}:{key_size_bits}", "account", "audit", f"quota:{master_sae_id}"]
        args = [count, key_size_bits, connection_id.bytes, master_sae_id, self.now()]
        limits = limits or SaeLimits()
        args += ["" if one is None else one for one in (max_age_ms, limits.bits_per_hour, limits.bits_per_day, mark)]
        found = self.run("take_keys", keys, args)
        if isinstance(found, int):
            return found
        if found[0] == b"changed":
            raise CatalogueChanged
        if found[0] == b"closed":
            raise Unconfirmed(found[1].decode())
        if found[0] == b"quota":
            raise TooManyRequests(
                f"the quota of SAE {master_sae_id} leaves no room for {count * key_size_bits} bits of key now: none was"
                " delivered, try again later",
                math.ceil(found[1] / 1000),
            )
        return [(record[:16], record[BEFORE_KEY_IN_POOL:]) for record in found]

    def fetch_keys(
        self, master_sae_id: str, key_ids: Sequence[bytes], caller: str, mark: bytes | None = None
    ) -> list[tuple[bytes, bytes, bytes]] | NotFetched:
        """The caller's copies in the order asked, gone from here now: of each the octets of its id, those of the
        connection's, and the wrapped key.
        `mark`: as for `take_keys`."""
        args: list[Any] = [caller, master_sae_id, self.now(), mark or "", *key_ids]
        outcome, *found = self.run("fetch_keys", ["entitlement", "account", "audit"], args)
        if outcome == b"ok":
            connections = [UUID(text.decode()).bytes for text in found[0]]
            of_each = connections if len(connections) > 1 else connections * len(key_ids)
            copies = (copy[BEFORE_KEY_IN_COPY:] for copy in found[1:])
            return list(zip(key_ids, of_each, copies, strict=True))
        if outcome == b"changed":
            raise CatalogueChanged
        if outcome == b"closed":
            raise Unconfirmed(found[0].decode())
        if outcome == b"unchecked":
            raise Unavailable(UNCHECKED)
        return NotFetched(outcome == b"not_found", int(found[0]))

    def entitlement_of(self, key_id: UUID) -> Entitlement | None:
        """None where the key never was here."""
        with self.answering():
            found = self._redis.hget("entitlement", key_id.bytes)
        if found is None:
            return None
        connection_and_bond, *recipients, master = found.decode().split("\0")
        return Entitlement(UUID(connection_and_bond[:_UUID_LENGTH]), master.removeprefix("\n"), tuple(recipients))

    def follow_connection(self, connection: Connection) -> int:
        """Destroys the keys of a removed connection, and lets none in; readmits another. How many keys that were."""
        connection_id = connection.connection_id
        keys = ["revisions", "removed", f"copies:{connection_id}", "account", "audit"]
        args = [connection_id.bytes, connection.revision, int(connection.removed), f"pool:{connection_id}:"]
        return int(self.run("follow_connection", keys, args))

    def forget_sae(self, sae_id: str) -> None:
        """What its limits have counted."""
        with self.answering():
            self._redis.delete(f"calls:{sae_id}", f"quota:{sae_id}")

    def catalogue_mark(self) -> bytes | None:
        """Another one after every change of SAEs or connections (`kme.catalogue`)."""
        with self.answering():
            return self._redis.get("catalogue")

    def leave_catalogue_mark(self) -> None:
        # Random, so that a store restored from a backup can't hold the one that a process remembers by chance.
        with self.answering():
            self._redis.set("catalogue", uuid4().bytes)

    def account(self) -> dict[str, int]:
        with self.answering():
            values = self._redis.hmget("account", ACCOUNT_ENTRIES)
        return {name: int(value or 0) for name, value in zip(ACCOUNT_ENTRIES, values, strict=True)}

    def audit_entries(self, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The oldest entries of the audit stream: stream id and fields."""
        with self.answering():
            return self._redis.xrange("audit", count=count)

    def forget_audit_entries(self, stream_ids: Sequence[bytes]) -> None:
        with self.answering():
            self._redis.xdel("audit", *stream_ids)

    def audit_end(self) -> End | None:
        """The end of the audit trail in Postgres, as `anchor_audit` has left it."""
        with self.answering():
            number, chain = self._redis.hmget("audit_end", "number", "hash")
        return None if number is None else End(int(number), chain)

    def anchor_audit(self, compared: End | None, end: End) -> None:
        """`compared`: what `audit_end` gave, and the caller has compared with the trail."""
        self.run("anchor_audit", ["audit_end"], [compared.number if compared else "", *end])

    def time_left_ms(self, key_id: UUID) -> int | None:
        """Until nobody can fetch the key here any more; None where its entitlement is not known."""
        _, slow = self.clocks_ms()
        with self.answering():
            ends = self._redis.zscore("ends:entitlement", key_id.bytes)
        return None if ends is None else int(ends) - slow

    def forget_blocks(self, block_ids: Sequence[UUID]) -> None:
        if block_ids:
            with self.answering():
                self._redis.srem("blocks", *(one.bytes for one in block_ids))


def _checked(outcome: Any) -> Any:
    if outcome == b"unchecked":
        raise Unavailable(UNCHECKED)
    return outcome


def _stores_of(cut: Cut) -> tuple[str, str]:
    pool = f"pool:{cut.pool_id}:{cut.key_size_bits}" if cut.pool_id else ""
    return pool, f"copies:{cut.connection_id}"


def _octets(connection_id: UUID | None) -> bytes:
    return connection_id.bytes if connection_id else b""
