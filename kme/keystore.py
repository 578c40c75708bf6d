"""Block and key bits, wrapped, in the site's Redis. What must happen together is one Lua script (db/lua).

Layout, with 16-byte binary UUIDs inside values:
`block:{id}` hash bits, version, uncut_bits · `cuts:{id}` hash of a block's cuts: id → range and digest ·
`pool:{connection}:{size}` list of key id | wrapped key, at the master's KME · `keys:{connection}` hash key id → wrapped
key, at the slave's · `entitlement` hash key id → connection, kept after delivery · `blocks` set of all block ids ever
seen · `account` hash · `byte_counts` hash counts (wrapped), version · `audit` stream · `kek` fingerprint.
There is no EXPIRE anywhere: what Redis removes by itself would be missing in the account.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kme.errors import Unavailable
from kme.model import Block

ACCOUNT_ENTRIES = ("received", "remainder", "stored", "delivered", "burned", "destroyed")


@dataclass(frozen=True)
class StoredBlock:
    """A block's wrapped bits; those of ranges already cut are zero."""

    version: int
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True)
class Cut:
    """What `cut.lua` does in one step. `use`: `pool`, `slave` or `burned`; `keys`: pairs of key id and wrapped key."""

    cut_id: bytes
    block_id: UUID
    digest: bytes
    first_bit: int
    end_bit: int
    use: str
    connection_id: UUID | None = None
    key_size_bits: int = 0
    keys: Sequence[tuple[UUID, bytes]] = field(default=(), repr=False)


class KeyStore:
    """Every method raises Unavailable where Redis does not answer; what it was asked may have taken place then."""

    def __init__(self, url: str, scripts: Path, timeout_s: float = 5.0) -> None:
        # No retry inside the client: a repeated take would lose the keys of the first, silently.
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=False,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        names = ("store_block", "cut", "take_keys", "fetch_keys", "close_block")
        self._scripts = {
            name: self._redis.register_script((scripts / f"{name}.lua").read_text("utf-8")) for name in names
        }

    def claim(self, fingerprint: bytes) -> None:
        """Makes an empty store this KME's. Raises Unavailable where it holds what another KEK has encrypted."""
        with _answering():
            self._redis.set("kek", fingerprint, nx=True)
            known = self._redis.get("kek")
        if known != fingerprint:
            raise Unavailable(
                f"the key store was encrypted under key-encryption key {known.hex()}, this KME was given"
                f" {fingerprint.hex()}: give it the one it had"
            )

    def store_block(self, block: Block, wrapped: bytes, counts: bytes, counts_version: int) -> str:
        """`done`, `again` where the id was ever here, or `raced`: see db/lua/store_block.lua. `wrapped` is version 0;
        `counts` are the wrapped byte counts with this block's, made from those of `counts_version`."""
        keys = [f"block:{block.block_id}", "blocks", "account", "audit", "byte_counts"]
        args = [block.block_id.bytes, wrapped, block.length_bits, block.link, block.owner_kme_id]
        return self._run("store_block", keys, [*args, counts, counts_version]).decode()

    def byte_counts(self) -> tuple[bytes | None, int]:
        """The wrapped byte counts and their version."""
        with _answering():
            counts, version = self._redis.hmget("byte_counts", "counts", "version")
        return counts, int(version or 0)

    def block(self, block_id: UUID) -> StoredBlock | None:
        with _answering():
            wrapped, version = self._redis.hmget(f"block:{block_id}", "bits", "version")
        return None if wrapped is None else StoredBlock(int(version), wrapped)

    def cut(self, cut: Cut, version: int, rewrapped: bytes) -> str:
        """`done`, `again`, or why nothing changed: see db/lua/cut.lua."""
        pool = f"pool:{cut.connection_id}:{cut.key_size_bits}"
        destination = {"pool": pool, "slave": f"keys:{cut.connection_id}", "burned": ""}[cut.use]
        keys = [f"block:{cut.block_id}", f"cuts:{cut.block_id}", "account", "audit", "entitlement", destination]
        connection = cut.connection_id.bytes if cut.connection_id else b""
        args: list[Any] = [cut.cut_id, cut.digest, version, rewrapped, cut.first_bit, cut.end_bit, cut.use, connection]
        for key_id, wrapped in cut.keys:
            args += (key_id.bytes, wrapped)
        return self._run("cut", keys, args).decode()

    def close_block(self, block_id: UUID, entry: str) -> int:
        """The number of bits that were left and go to `entry` of the account now; 0 where there is no such block."""
        keys = [f"block:{block_id}", f"cuts:{block_id}", "blocks", "account", "audit"]
        return int(self._run("close_block", keys, [block_id.bytes, entry]))

    def uncut_bits(self, block_ids: Sequence[UUID]) -> list[int]:
        """Of each block, the bits that are here and not cut; 0 where it is not here."""
        with _answering():
            asked = self._redis.pipeline(transaction=False)
            for block_id in block_ids:
                asked.hget(f"block:{block_id}", "uncut_bits")
            return [int(bits or 0) for bits in asked.execute()]

    def stored_key_count(self, connection_id: UUID, key_size_bits: int) -> int:
        with _answering():
            return int(self._redis.llen(f"pool:{connection_id}:{key_size_bits}"))

    def take_keys(
        self, connection_id: UUID, key_size_bits: int, count: int, master_sae_id: str
    ) -> list[tuple[UUID, bytes]] | int:
        """All `count` keys, wrapped, gone from the pool now; or how many there are, where they are too few."""
        keys = [f"pool:{connection_id}:{key_size_bits}", "account", "audit"]
        found = self._run("take_keys", keys, [count, key_size_bits, connection_id.bytes, master_sae_id])
        return found if isinstance(found, int) else [(UUID(bytes=record[:16]), record[16:]) for record in found]

    def fetch_keys(
        self, connection_id: UUID, key_ids: Sequence[UUID], slave_sae_id: str, entitled_to: Sequence[UUID]
    ) -> tuple[str, list[bytes]]:
        """`ok` and the wrapped keys in the order asked; or `not_entitled` or `not_found`, and nothing changed."""
        keys = [f"keys:{connection_id}", "entitlement", "account", "audit"]
        args: list[Any] = [connection_id.bytes, slave_sae_id, len(entitled_to)]
        args += [known.bytes for known in entitled_to] + [key_id.bytes for key_id in key_ids]
        outcome, *wrapped = self._run("fetch_keys", keys, args)
        return outcome.decode(), wrapped

    def account(self) -> dict[str, int]:
        with _answering():
            values = self._redis.hmget("account", ACCOUNT_ENTRIES)
        return {name: int(value or 0) for name, value in zip(ACCOUNT_ENTRIES, values, strict=True)}

    def audit_entries(self, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """The oldest entries of the audit stream: stream id and fields."""
        with _answering():
            return self._redis.xrange("audit", count=count)

    def forget_audit_entries(self, stream_ids: Sequence[bytes]) -> None:
        with _answering():
            self._redis.xdel("audit", *stream_ids)

    def close(self) -> None:
        self._redis.close()

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        with _answering():
            return self._scripts[script](keys=keys, args=args)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        # A script's error could quote its arguments; its first word (OOM, MISCONF, READONLY, ...) says what is wrong.
        raise Unavailable(f"Redis refuses to work: {(str(error).split() or ['?'])[0]}") from None
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {type(error).__name__}") from None
