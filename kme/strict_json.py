"""JSON from outside, read strictly: what is ambiguous is refused, and every message says which member is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

from kme.errors import BadRequest

_DIGITS = re.compile(r"-?[0-9]{1,18}")
_MAX_INTEGER = 10**18
_KINDS = {
    bool: "a boolean",
    str: "a string",
    int: "an integer",
    float: "a fraction",
    list: "an array",
    dict: "an object",
}


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; an empty body is `{}`. Members with the value null are left out: null means absent."""
    return {name: value for name, value in raw_object_in(body).items() if value is not None}


def raw_object_in(body: bytes) -> dict[str, Any]:
    """The same with its nulls, where they mean something."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {_position(error)}") from None
    return an_object(value, "the body", keep_null=True)


def an_object(value: Any, name: str, keep_null: bool = False) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{name}: expected a JSON object, got {_kind(value)}")
    return {member: one for member, one in value.items() if keep_null or one is not None}


def objects(members: dict[str, Any], name: str, keep_null: bool = False) -> list[dict[str, Any]]:
    """An optional array of objects; `keep_null` where a member counts by its name alone."""
    value = members.get(name, [])
    if not isinstance(value, list):
        raise BadRequest(f"{name}: expected an array of objects, got {_kind(value)}")
    if all(type(one) is dict and (keep_null or None not in one.values()) for one in value):
        return value  # of many, to make each once more would take longer than to read them
    return [an_object(one, f"{name}[{i}]", keep_null) for i, one in enumerate(value)]


def strings(members: dict[str, Any], name: str) -> list[str]:
    """An optional array of strings."""
    value = members.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadRequest(f"{name}: expected an array of strings")
    return value


def string(members: dict[str, Any], name: str, max_length: int = 255) -> str:
    """A string that is there, printable and not too long."""
    if name not in members:
        raise BadRequest(f"{name} is missing: expected a string")
    value = members[name]
    if not isinstance(value, str):
        raise BadRequest(f"{name}: expected a string, got {_kind(value)}")
    if not value or len(value) > max_length or not value.isprintable():
        raise BadRequest(f"{name}: expected 1..{max_length} printable characters")
    return value


def boolean(members: dict[str, Any], name: str, default: bool = False) -> bool:
    value = members.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: expected true or false, got {_kind(value)}")
    return value


def integer(members: dict[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """An integer in `low..high`; booleans, fractions and numbers in strings are none."""
    value = members.get(name, default)
    if value is None:
        raise BadRequest(f"{name} is missing: expected an integer in {low}..{high}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name}: expected an integer, got {_kind(value)}")
    if not low <= value <= high:
        shown = value if abs(value) < _MAX_INTEGER else "a huge number"
        raise BadRequest(f"{name}: expected {low}..{high}, got {shown}")
    return value


def integer_in_query(values: list[str], name: str) -> int:
    """The one value of a query parameter, as an integer of any size up to 18 digits."""
    if len(values) != 1:
        raise BadRequest(f"{name}: expected once in the query, got it {len(values)} times")
    if not _DIGITS.fullmatch(values[0]):
        raise BadRequest(f"{name}: expected an integer in the query")
    return int(values[0])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest("the body has an object in which a member is named twice")
    return members


def _no_constant(name: str) -> Any:
    raise BadRequest(f"the body is not JSON: {name} is no JSON value")


def _position(error: ValueError) -> str:
    # The decoder's own message may quote the body.
    if isinstance(error, json.JSONDecodeError):
        return f"at line {error.lineno}, column {error.colno}"
    return "a number is too long"


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")
