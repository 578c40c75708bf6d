"""ETSI GS QKD 014's data formats as JSON Schemas (2020-12), with the limits that hold here: for the OpenAPI document.

They say what `kme.etsi014` reads and writes. Limits of one connection (`max_key_per_request`) can be narrower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kme.limits import MAX_SAE_ID_LENGTH
from kme.model import (
    MAX_ADDITIONAL_SLAVES,
    MAX_KEY_SIZE_BITS,
    MAX_KEYS_PER_REQUEST,
    MAX_POOL_KEY_COUNT,
    MIN_KEY_SIZE_BITS,
)


class Schema(NamedTuple):
    """One of the document's named schemas."""

    name: str
    json: dict[str, Any]


def _object(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {}) | more


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """In a request null means absent."""
    return schema | {"type": [schema["type"], "null"]}


def _count(least: int, most: int, description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _array(of: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, "description": description} | more


def _id(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": MAX_SAE_ID_LENGTH, "description": description}


_HEX = "[0-9a-fA-F]"
_VENDOR = {"type": "object"}  # an extension's name and its value, which can be anything

SAE_ID = _id("An SAE ID: printable characters, in the path percent-encoded, also `/` (`%2F`)") | {"examples": ["sae-b"]}
NUMBER = _count(1, MAX_KEYS_PER_REQUEST, "How many keys; at most the connection's max_key_per_request") | {"default": 1}
SIZE = _count(
    MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS, "Bits of each key; the connection's key_size where it is not given"
) | {"multipleOf": 8}
KEY_ID = {
    "type": "string",
    "format": "uuid",
    "pattern": f"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$",
    "description": "A UUID of 36 characters; in an answer in lower case, in a request in either",
    "examples": ["123e4567-e89b-42d3-a456-426614174000"],
}

STATUS = Schema(
    "Status",
    _object(
        properties := {
            "source_KME_ID": _id("The KME asked, the master's"),
            "target_KME_ID": _id("The slave's KME"),
            "master_SAE_ID": _id("The caller"),
            "slave_SAE_ID": _id("The SAE of the path"),
            "key_size": _count(MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS, "Default size of a key in bits")
            | {"multipleOf": 8},
            "stored_key_count": _count(0, MAX_POOL_KEY_COUNT, "Keys of the default size that can be delivered now"),
            "max_key_count": _count(1, MAX_POOL_KEY_COUNT, "The most that are stored"),
            "max_key_per_request": _count(1, MAX_KEYS_PER_REQUEST, "The largest `number` of one request"),
            "max_key_size": _count(MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS, "The largest `size`"),
            "min_key_size": _count(MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS, "The smallest `size`"),
            "max_SAE_ID_count": _count(0, MAX_ADDITIONAL_SLAVES, "Additional slaves in one request; 0: no multicast"),
        },
        tuple(properties),
        additionalProperties=False,
        description="Table 9: these members and no others",
    ),
)

SAE_INFO = Schema(
    "SaeInfo",
    _object(
        {"SAE_ID": _id("The caller"), "KME_ID": _id("The KME asked")},
        ("SAE_ID", "KME_ID"),
        additionalProperties=False,
        description="Not of the standard: the members that another KME's clients know",
    ),
)

KEY_REQUEST = Schema(
    "KeyRequest",
    _object(
        {
            "number": _or_null(NUMBER),
            "size": _or_null(SIZE),
            "additional_slave_SAE_IDs": _or_null(
                _array(
                    _id("An SAE ID"),
                    "Further slaves that get the identical keys, each once; at most the status' max_SAE_ID_count",
                    maxItems=MAX_ADDITIONAL_SLAVES,
                )
            ),
            "extension_mandatory": _or_null(
                _array(_VENDOR, "Vendor options that must be met; one that is not supported: 400. Null counts too")
            ),
            "extension_optional": _or_null(_array(_VENDOR, "Vendor options that may be ignored")),
        },
        description="Table 10: every member is optional, null means absent, unknown members are ignored",
    ),
)

KEY_CONTAINER = Schema(
    "KeyContainer",
    _object(
        {
            "keys": _array(
                _object(
                    {
                        "key_ID": KEY_ID | {"pattern": KEY_ID["pattern"].replace("A-F", "")},
                        "key": {
                            "type": "string",
                            "contentEncoding": "base64",
                            "minLength": 4,
                            "maxLength": (MAX_KEY_SIZE_BITS // 8 + 2) // 3 * 4,
                            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
                            "description": "The key in base64, with padding",
                        },
                    },
                    ("key_ID", "key"),
                ),
                "The keys, for dec_keys in the order asked",
                minItems=1,
                maxItems=MAX_KEYS_PER_REQUEST,
            )
        },
        ("keys",),
        description="Table 11. They are delivered with this answer, and to this caller never again",
    ),
)

KEY_IDS = Schema(
    "KeyIDs",
    _object(
        {
            "key_IDs": _array(
                _object(
                    {"key_ID": KEY_ID, "key_ID_extension": {"description": "Reserved by the standard, ignored"}},
                    ("key_ID",),
                ),
                "The keys to fetch, each once",
                minItems=1,
                maxItems=MAX_KEYS_PER_REQUEST,
            ),
            "key_IDs_extension": {"description": "Reserved by the standard, ignored"},
        },
        ("key_IDs",),
        description="Table 12; unknown members are ignored",
    ),
)

ERROR = Schema(
    "Error",
    _object(
        {
            "message": {"type": "string", "minLength": 1, "description": "What is wrong, for a person"},
            "details": _array({"type": "object", "minProperties": 1}, "Name-value pairs, for a program", minItems=1),
        },
        ("message",),
        additionalProperties=False,
        description="Table 13, of every refusal",
    ),
)
