"""What a KME may answer, read strictly: ETSI GS QKD 014 V1.1.1 tables 9, 11 and 13. No I/O.

A complaint never quotes the answer, and never chains an error that does: the answer may hold key material.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Table 11: key_ID is "UUID format"; RFC 4122 has 36 characters, and upper case is the same on input.
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class MalformedAnswer(Exception):
    """The KME answered something that the standard does not allow. Any key in it is to be taken as burned."""


@dataclass(frozen=True)
class Status:
    """Table 9. Sizes are those of one key, counts those of the connection between the two SAEs."""

    source_kme_id: str
    target_kme_id: str
    master_sae_id: str
    slave_sae_id: str
    key_size_bits: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size_bits: int
    min_key_size_bits: int
    max_sae_id_count: int
    extension: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Key:
    """One key of table 11; `key_id` is in lower case."""

    key_id: str
    octets: bytes = field(repr=False)
    key_id_extension: Mapping[str, Any] | None = field(default=None, repr=False)
    key_extension: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class KeyContainer:
    """Table 11."""

    keys: tuple[Key, ...]
    extension: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Problem:
    """Table 13."""

    message: str
    details: tuple[Mapping[str, Any], ...] = ()


_STATUS = {
    "source_KME_ID": ("source_kme_id", str),
    "target_KME_ID": ("target_kme_id", str),
    "master_SAE_ID": ("master_sae_id", str),
    "slave_SAE_ID": ("slave_sae_id", str),
    "key_size": ("key_size_bits", int),
    "stored_key_count": ("stored_key_count", int),
    "max_key_count": ("max_key_count", int),
    "max_key_per_request": ("max_key_per_request", int),
    "max_key_size": ("max_key_size_bits", int),
    "min_key_size": ("min_key_size_bits", int),
    "max_SAE_ID_count": ("max_sae_id_count", int),
}


def read_status(body: bytes) -> Status:
    """Raises MalformedAnswer."""
    wire = _json_object(body)
    _check_members(wire, "status", {name: kind for name, (_, kind) in _STATUS.items()}, {"status_extension": dict})
    values = {ours: wire[name] for name, (ours, _) in _STATUS.items()}
    if any(type(value) is int and value < 0 for value in values.values()):
        raise MalformedAnswer("status: a size or count is negative")
    status = Status(**values, extension=wire.get("status_extension"))
    if status.stored_key_count > status.max_key_count:
        raise MalformedAnswer("status: stored_key_count is over max_key_count")
    if not status.min_key_size_bits <= status.key_size_bits <= status.max_key_size_bits:
        raise MalformedAnswer("status: key_size is not between min_key_size and max_key_size")
    return status


def read_key_container(body: bytes) -> KeyContainer:
    """Raises MalformedAnswer."""
    wire = _json_object(body)
    _check_members(wire, "key container", {"keys": list}, {"key_container_extension": dict})
    keys = tuple(_read_key(item) for item in wire["keys"])
    if len({key.key_id for key in keys}) < len(keys):
        raise MalformedAnswer("key container: the same key_ID twice")
    return KeyContainer(keys, wire.get("key_container_extension"))


def read_problem(body: bytes) -> Problem:
    """Leniently: an error is an error whatever its body, and the standard gives 401 none."""
    try:
        wire = _json_object(body)
    except MalformedAnswer:
        wire = {}
    message, details = wire.get("message"), wire.get("details")
    return Problem(
        message if isinstance(message, str) and message else "it gave no reason",
        tuple(item for item in details if isinstance(item, dict)) if isinstance(details, list) else (),
    )


def _read_key(wire: Any) -> Key:
    if not isinstance(wire, dict):
        raise MalformedAnswer("key container: an entry of keys is not an object")
    _check_members(wire, "key", {"key_ID": str, "key": str}, {"key_ID_extension": dict, "key_extension": dict})
    if not UUID_FORM.fullmatch(wire["key_ID"]):
        raise MalformedAnswer("key: key_ID is not a UUID of 36 characters")
    octets = _base64_octets(wire["key"])
    return Key(wire["key_ID"].lower(), octets, wire.get("key_ID_extension"), wire.get("key_extension"))


def _base64_octets(text: str) -> bytes:
    try:
        octets = base64.b64decode(text)
    except ValueError:
        octets = b""
    # Encoding again finds what decoding lets pass: foreign characters, and bits set in the last one's unused part
    # (RFC 4648, 3.3 and 3.5).
    if not octets or base64.b64encode(octets).decode() != text:
        raise MalformedAnswer("key: not base64 with padding (RFC 4648), or empty")
    return octets


def _check_members(wire: dict[str, Any], what: str, required: dict[str, type], optional: dict[str, type]) -> None:
    missing = required.keys() - wire.keys()
    if missing:
        raise MalformedAnswer(f"{what}: {', '.join(sorted(missing))} missing")
    if wire.keys() - required.keys() - optional.keys():
        raise MalformedAnswer(f"{what}: members that the standard does not name")
    for name, kind in {**required, **optional}.items():
        # `type(...) is`, because True is an int to isinstance and not one to JSON.
        if name in wire and type(wire[name]) is not kind:
            expected = {str: "a string", int: "an integer", list: "an array", dict: "an object"}[kind]
            raise MalformedAnswer(f"{what}: {name} is not {expected}")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        wire = json.loads(body.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        wire = None
    if not isinstance(wire, dict):
        raise MalformedAnswer("not one JSON object with distinct members in UTF-8 (RFC 8259)")
    return wire


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
