"""A PKI from one TOML file, without a lab: authorities, and who holds a certificate of which.

docs/pki.md has an example.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mutual_tls.identity import ROLES, Identity
from qkd_lab.pki.authority import AUTHORITY_LIFE, PkiError
from qkd_lab.pki.contents import COMMON_NAME_LENGTH, LEAF_LIFE
from qkd_lab.pki.holders import HOST_NAME, Holder
from qkd_lab.pki.keys import DEFAULT, KEY_TYPES
from qkd_lab.topology_fields import Key, TopologyError, read_fields

_SERIAL = re.compile(r"0[xX][0-9a-fA-F]{1,40}|[0-9]{1,48}")


@dataclass(frozen=True)
class PkiConfiguration:
    """`authorities`: key type and life of each."""

    authorities: Mapping[str, tuple[str, timedelta]]
    holders: tuple[Holder, ...]


def _name(value: Any) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return 0 < len(quote(value, safe="")) <= 240 and value not in (".", "..", "authorities")


def _list(fits: Any) -> Any:
    return lambda value: isinstance(value, list) and all(isinstance(one, str) and fits(one) for one in value)


def _host(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return bool(HOST_NAME.fullmatch(value))
    return True


def _days(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 36500


def _serial(value: Any) -> bool:
    if isinstance(value, str) and _SERIAL.fullmatch(value):
        value = _number(value)
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 159


def _number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value, 16 if value[:2] in ("0x", "0X") else 10)


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


_KEY_TYPE = Key(f"one of {', '.join(KEY_TYPES)}", lambda value: isinstance(value, str) and value in KEY_TYPES)
_DAYS = Key("a number of days from 1 to 36500", _days)
_NAME = Key("a name of 1 to 240 printable characters, percent-encoded", _name, required=True)
_AUTHORITY_NAME = Key(
    "a name of 1 to 50 printable characters", lambda value: _name(value) and len(value) <= 50, required=True
)

_TOP = {
    "defaults": Key("a table", lambda value: isinstance(value, dict), default={}),
    "authorities": Key("[[authorities]] tables", _tables, required=True),
    "certificates": Key("[[certificates]] tables", _tables, default=()),
}
_DEFAULTS = {"key_type": _KEY_TYPE, "days": _DAYS}
_AUTHORITY = {"name": _AUTHORITY_NAME, "key_type": _KEY_TYPE, "days": _DAYS}
_CERTIFICATE = {
    "name": _NAME,
    "role": Key(f"one of {', '.join(ROLES)}", lambda value: isinstance(value, str) and value in ROLES, required=True),
    "id": Key("an id of 1 to 240 printable characters", _name),
    "authority": Key("the name of an authority", lambda value: isinstance(value, str), required=True),
    "calls": Key("a list of authorities", _list(bool)),
    "callers": Key("a list of authorities", _list(bool)),
    "hosts": Key("a list of host names and IP addresses", _list(_host)),
    "named_by": Key("urn, cn or serial", lambda value: value in ("urn", "cn", "serial")),
    "serial": Key("a number above 0 of at most 20 octets, decimal or 0x...", _serial),
    "key_type": _KEY_TYPE,
    "days": _DAYS,
}


def read_configuration(path: Path) -> PkiConfiguration:
    """Raises PkiError: file, table, key, what was expected."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PkiError(f"{path}: can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PkiError(f"{path}: not a TOML file: {error}") from None
    try:
        return _configuration(document)
    except TopologyError as error:
        raise PkiError(f"{path}: {error}") from None


def _configuration(document: dict[str, Any]) -> PkiConfiguration:
    top = read_fields(document, "top level", _TOP)
    defaults = read_fields(top["defaults"], "defaults", _DEFAULTS)
    authorities: dict[str, tuple[str, timedelta]] = {}
    for number, table in enumerate(top["authorities"], 1):
        one = read_fields(table, f"authorities[{number}]", _AUTHORITY, {"key_type": defaults.get("key_type", DEFAULT)})
        if one["name"] in authorities:
            raise TopologyError(f"table authorities[{number}], key name: {one['name']!r} is there twice")
        authorities[one["name"]] = (one["key_type"], timedelta(days=one.get("days", AUTHORITY_LIFE.days)))
    if not authorities:
        raise TopologyError("table authorities: expected at least one [[authorities]] table")
    holders: dict[str, Holder] = {}
    for number, table in enumerate(top["certificates"], 1):
        where = f"table certificates[{number}], key"
        holder = _holder(read_fields(table, f"certificates[{number}]", _CERTIFICATE), defaults, where)
        for key, names in (("authority", (holder.authority,)), ("calls", holder.calls), ("callers", holder.callers)):
            for name in names:
                if name not in authorities:
                    raise TopologyError(f"{where} {key}: expected one of {', '.join(authorities)}, got {name!r}")
        if holder.name in holders:
            raise TopologyError(f"{where} name: {holder.name!r} is there twice")
        holders[holder.name] = holder
    _refuse_one_serial_number_twice(list(holders.values()))
    return PkiConfiguration(authorities, tuple(holders.values()))


def _holder(one: dict[str, Any], defaults: dict[str, Any], where: str) -> Holder:
    named_by, id = one.get("named_by", "urn"), one.get("id", one["name"])
    if named_by != "urn" and (one["role"] != "sae" or one.get("hosts")):
        raise TopologyError(f"{where} named_by: {named_by} is for SAEs as clients alone: expected urn")
    if named_by == "cn" and len(id) > COMMON_NAME_LENGTH:
        raise TopologyError(f"{where} id: a common name has at most {COMMON_NAME_LENGTH} characters (X.520)")
    return Holder(
        name=one["name"],
        identity=Identity(one["role"], id),
        authority=one["authority"],
        calls=tuple(one.get("calls", ())),
        callers=tuple(one.get("callers", ())),
        hosts=tuple(one.get("hosts", ())),
        named_by=named_by,
        key_type=one.get("key_type", defaults.get("key_type", DEFAULT)),
        life=timedelta(days=one.get("days", defaults.get("days", LEAF_LIFE.days))),
        serial_number=_number(one["serial"]) if "serial" in one else None,
    )


def _refuse_one_serial_number_twice(holders: list[Holder]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for one in holders:
        if one.serial_number is None:
            continue
        before = seen.setdefault((one.authority, one.serial_number), one.name)
        if before != one.name:
            raise TopologyError(
                f"table certificates, key serial: {before!r} and {one.name!r} of {one.authority} have the same one"
            )
