"""How batches and the states of connections are spelled between two KMEs (docs/protocols.md)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

from kme.errors import BadRequest
from kme.etsi014 import connection_in, connection_json
from kme.limits import check_sae_id
from kme.model import MAX_BLOCK_BITS, MAX_KEY_SIZE_BITS, MAX_KEYS_PER_REQUEST, MAX_TTL_S, Batch, Connection
from kme.strict_json import boolean, integer, object_in, string, strings

MAX_COUNT = 2**52  # a Lua number holds it exactly


def batch_json(batch: Batch) -> dict[str, Any]:
    return {
        "batch_id": str(batch.batch_id),
        "block_id": str(batch.block_id),
        "offset_bits": batch.offset_bits,
        "key_size_bits": batch.key_size_bits,
        "connection_id": str(batch.connection_id),
        "master_sae_id": batch.master_sae_id,
        "slave_sae_id": batch.slave_sae_id,
        "key_ids": [str(key_id) for key_id in batch.key_ids],
        "recipients": list(batch.recipients),
        "ttl_s": batch.ttl_s,
    }


def batch_in(body: bytes) -> Batch:
    members = object_in(body)
    ids = strings(members, "key_ids")
    if not 1 <= len(ids) <= MAX_KEYS_PER_REQUEST:
        raise BadRequest(f"key_ids: expected 1..{MAX_KEYS_PER_REQUEST} of them, got {len(ids)}")
    return Batch(
        batch_id=uuid_in(string(members, "batch_id"), "batch_id"),
        block_id=uuid_in(string(members, "block_id"), "block_id"),
        offset_bits=integer(members, "offset_bits", 0, MAX_BLOCK_BITS),
        key_size_bits=integer(members, "key_size_bits", 1, MAX_KEY_SIZE_BITS),
        connection_id=uuid_in(string(members, "connection_id"), "connection_id"),
        master_sae_id=check_sae_id(string(members, "master_sae_id"), "master_sae_id"),
        slave_sae_id=check_sae_id(string(members, "slave_sae_id"), "slave_sae_id"),
        key_ids=tuple(uuid_in(one, "key_ids") for one in ids),
        recipients=tuple(check_sae_id(one, "recipients") for one in strings(members, "recipients")),
        ttl_s=integer(members, "ttl_s", 1, MAX_TTL_S),
    )


def state_json(connection: Connection) -> dict[str, Any]:
    """A connection and what administration has made of it."""
    state = ("suspended", "removed", "revision", "revised_by")
    return connection_json(connection) | {name: getattr(connection, name) for name in state}


def state_in(body: bytes) -> Connection:
    """The same. Without `revision` it is a connection as it was first registered."""
    members = object_in(body)
    return replace(
        connection_in(body),
        suspended=boolean(members, "suspended"),
        removed=boolean(members, "removed"),
        revision=integer(members, "revision", 0, MAX_COUNT, default=0),
        revised_by=string(members, "revised_by") if members.get("revised_by") else "",
    )


def store_in(members: dict[str, Any]) -> str:
    """The random id of a key store in one epoch."""
    store = string(members, "store")
    if not re.fullmatch("[0-9a-f]{32}", store):
        raise BadRequest("store: expected 32 hexadecimal digits")
    return store


def uuid_in(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest(f"{name}: expected a UUID") from None


def octets_in(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadRequest(f"{name}: expected hexadecimal digits") from None
