"""The wire spelling of ETSI GS QKD 014 V1.1.1, and of the connections that follow it: here and in no other file.

Requests are parsed into the model's terms, answers rendered from them. Types and forms are checked here; limits that
depend on a connection are checked by the use case. Unknown members are ignored at every level, and null means absent;
but an extension named as mandatory counts, whatever its value (clause 6.2).
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from kme.errors import BadRequest
from kme.limits import check_connection
from kme.model import (
    MAX_KEY_SIZE_BITS,
    MAX_KEYS_PER_REQUEST,
    MIN_KEY_SIZE_BITS,
    Connection,
    Key,
    KeyRequest,
    PoolStatus,
    uuid_text,
)
from kme.strict_json import integer, integer_in_query, object_in, objects, string, strings

QOS_MEMBERS = ("Key_chunk_size", "Max_bps", "Min_bps", "Jitter", "Priority", "Timeout", "TTL")  # ETSI GS QKD 004
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_MAX_KEY_IDS = MAX_KEYS_PER_REQUEST
_INTEGER = 10**17

# Messages that the standard spells out (tables 10 and 12 and clause 6): clients compare them. More: `kme.extensions`.
SIZE_NOT_IN_BYTES = "size shall be a multiple of 8"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


def key_request(body: bytes) -> KeyRequest:
    """Table 10, from the body of a POST."""
    members = object_in(body)
    mandatory = [pair for one in objects(members, "extension_mandatory", keep_null=True) for pair in one.items()]
    optional = [pair for one in objects(members, "extension_optional") for pair in one.items()]
    size_bits = integer(members, "size", -_INTEGER, _INTEGER) if "size" in members else None
    return KeyRequest(
        number=integer(members, "number", -_INTEGER, _INTEGER, default=1),
        size_bits=size_bits,
        additional_slave_sae_ids=tuple(strings(members, "additional_slave_SAE_IDs")),
        mandatory_extensions=tuple(mandatory),
        optional_extensions=tuple(optional),
    )


def key_request_in_query(query: Mapping[str, list[str]]) -> KeyRequest:
    """The same in a GET: `number` and `size` and nothing else. What would change the answer is not silently ignored."""
    for name in ("additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"):
        if name in query:
            raise BadRequest(f"{name} can't be in a query: use POST")
    return KeyRequest(
        number=integer_in_query(query["number"], "number") if "number" in query else 1,
        size_bits=integer_in_query(query["size"], "size") if "size" in query else None,
    )


def key_ids(body: bytes) -> list[bytes]:
    """Table 12, from the body of a POST: one or more, each once; of each the 16 octets."""
    members = object_in(body)
    if "key_IDs" not in members:
        raise BadRequest("key_IDs is missing: expected an array of objects with a key_ID")
    found = [key_id_octets(string(one, "key_ID")) for one in objects(members, "key_IDs")]
    if not 1 <= len(found) <= _MAX_KEY_IDS:
        raise BadRequest(f"key_IDs: expected 1..{_MAX_KEY_IDS} of them, got {len(found)}")
    if len(set(found)) != len(found):
        raise BadRequest("key_IDs: the same key_ID is asked for twice")
    return found


def key_id_in_query(query: Mapping[str, list[str]]) -> list[bytes]:
    """The same in a GET, which takes exactly one."""
    values = query.get("key_ID", [])
    if len(values) != 1:
        raise BadRequest(f"key_ID: expected exactly one in the query, got {len(values)}; use POST for several")
    return [key_id_octets(values[0])]


def status_json(status: PoolStatus) -> dict[str, Any]:
    """Table 9: these members and no others."""
    connection = status.connection
    return {
        "source_KME_ID": connection.source_kme_id,
        "target_KME_ID": connection.target_kme_id,
        "master_SAE_ID": connection.master_sae_id,
        "slave_SAE_ID": connection.slave_sae_id,
        "key_size": connection.key_size_bits,
        "stored_key_count": status.stored_key_count,
        "max_key_count": connection.max_key_count,
        "max_key_per_request": connection.max_key_per_request,
        "max_key_size": MAX_KEY_SIZE_BITS,
        "min_key_size": MIN_KEY_SIZE_BITS,
        "max_SAE_ID_count": connection.max_sae_id_count,
    }


def container_text(keys: Sequence[Key]) -> str:
    """Table 11, as JSON: UUIDs in lower case, base64 with padding. Neither has a character that JSON would escape, so
    it is written as it is: of a large request, dictionaries and their encoder would take a fifth of the time."""
    members = [
        f'{{"key_ID":"{uuid_text(key.id_octets)}","key":"{b2a_base64(key.bits, newline=False).decode()}"}}'
        for key in keys
    ]
    return f'{{"keys":[{",".join(members)}]}}'


def connection_in(body: bytes) -> Connection:
    """A connection as the operator and the other KME write it. Raises BadRequest naming the member and its range."""
    members = object_in(body)

    def number(name: str, default: int) -> int:
        return integer(members, name, -_INTEGER, _INTEGER, default)

    max_key_count = number("max_keys_count", 1_000)
    connection = Connection(
        source_kme_id=string(members, "source_KME_ID"),
        target_kme_id=string(members, "target_KME_ID"),
        master_sae_id=string(members, "master_SAE_ID"),
        slave_sae_id=string(members, "slave_SAE_ID"),
        key_size_bits=number("key_size", 256),
        max_key_count=max_key_count,
        max_key_per_request=number("max_key_per_request", min(128, max_key_count)),
        max_sae_id_count=number("max_SAE_ID_count", 0),
        qos={name: integer(members, name, 0, _INTEGER) for name in QOS_MEMBERS if name in members},
    )
    return check_connection(connection)


def connection_json(connection: Connection, stored_key_count: int | None = None) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "connection_id": str(connection.connection_id),
        "source_KME_ID": connection.source_kme_id,
        "target_KME_ID": connection.target_kme_id,
        "master_SAE_ID": connection.master_sae_id,
        "slave_SAE_ID": connection.slave_sae_id,
        "key_size": connection.key_size_bits,
        "max_keys_count": connection.max_key_count,
        "max_key_per_request": connection.max_key_per_request,
        "max_SAE_ID_count": connection.max_sae_id_count,
        **connection.qos,
    }
    return rendered if stored_key_count is None else rendered | {"stored_key_count": stored_key_count}


def key_id_in(text: str, name: str = "key_ID") -> UUID:
    return UUID(bytes=key_id_octets(text, name))


def key_id_octets(text: str, name: str = "key_ID") -> bytes:
    if not _is_uuid(text):
        raise BadRequest(f"{name}: expected a UUID of 36 characters, like 123e4567-e89b-42d3-a456-426614174000")
    return bytes.fromhex(text.replace("-", ""))
