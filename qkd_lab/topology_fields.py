"""The keys of a topology file: which table has which, what each may be. `qkd_lab.topology` makes objects of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qkd_lab.configuration import shown


class TopologyError(Exception):
    """The topology is not one; a line for each error names the file, the table, the key and what was expected."""


@dataclass(frozen=True)
class Key:
    """One key: what is expected, in words and as a check; whether it must be there."""

    expected: str
    fits: Callable[[Any], bool]
    required: bool = False
    default: Any = None  # where the dataclass has none of its own


def read_fields(
    table: Mapping[str, Any], where: str, keys: Mapping[str, Key], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values of one table, checked. Keys that are absent are left to the dataclass's defaults.

    Raises TopologyError with a line for each key that is wrong.
    """
    values = dict(given or {})
    problems = []
    for name in table:
        if name not in keys:
            close = difflib.get_close_matches(name, keys, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            problems.append(f"table {where}, key {name}: unknown, {hint}expected one of {', '.join(keys)}")
    for name, key in keys.items():
        if name not in table:
            if key.required:
                problems.append(f"table {where}, key {name}: missing, expected {key.expected}")
            if key.default is not None:
                values.setdefault(name, key.default)
            continue
        value = table[name]
        if not key.fits(value):
            problems.append(f"table {where}, key {name}: expected {key.expected}, got {shown(value)}")
        values[name] = tuple(value) if isinstance(value, list) else value
    if problems:
        raise TopologyError("\n".join(problems))
    return values


class Problems:
    """Goes on after an error, so that all of them are said at once."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        try:
            yield
        except TopologyError as error:
            self._lines += str(error).splitlines()

    def add(self, lines: Iterable[str]) -> None:
        self._lines += lines

    def raise_any(self) -> None:
        if self._lines:
            raise TopologyError("\n".join(self._lines))


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _number(value: Any) -> bool:
    # TOML has inf and nan; a boolean is an int to Python.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _integer(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _count(allowed: range) -> Key:
    return Key(f"an integer from {allowed[0]} to {allowed[-1]}", _integer(allowed[0], allowed[-1]))


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _epsilon() -> Key:
    return Key("a probability above 0 and below 0.1", lambda value: _number(value) and 0 < value < 0.1)


_SHARE = r"(?:0?\.[0-9]+|[01](?:\.0*)?)"
_EVE = re.compile(
    rf"none|intercept-resend:{_SHARE}(:(random|z|x|[0-9]{{1,2}}(\.[0-9]+)?))?"
    rf"|(photon-number-splitting|beam-splitting)(:{_SHARE})?"
)


def _eve(value: Any) -> bool:
    return isinstance(value, str) and bool(_EVE.fullmatch(value))


def _from(least: float, most: float, what: str) -> Key:
    return Key(f"{what} from {least:g} to {most:g}", lambda value: _number(value) and least <= value <= most)


# The KME's (kme/model.py), written again like the limits below.
DOORS = ("quick", "life-cycle", "entropy")


def _doors(value: Any) -> bool:
    return isinstance(value, list) and all(one in DOORS for one in value) and len(set(value)) == len(value)


def _folders(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(path) and path.startswith("/") for path in value.values())


TOP = {
    "name": Key("a name", _text),
    "sites": Key("[[sites]] tables", _tables, required=True),
    "links": Key("[[links]] tables", _tables, default=()),
    "connections": Key("[[connections]] tables", _tables, default=()),
    "kme": Key("a [kme] table", lambda value: isinstance(value, dict), default={}),
    "doors": Key(f"a list with any of {', '.join(DOORS)}, each once", _doors),
    "demo_saes": Key("true or false", lambda value: isinstance(value, bool)),
}

SITE = {
    "name": Key("a name", _text, required=True),
    "nickname": Key("a name", _text),
    "saes": Key("a list of SAE ids", lambda value: isinstance(value, list) and all(map(_text, value))),
    "kme_names": Key("a list of names", lambda value: isinstance(value, list) and all(map(_text, value))),
}

LINK = {
    "name": Key("a name", _text, required=True),
    "alice": Key("the name of the site that prepares", _text, required=True),
    "bob": Key("the name of the site that measures", _text, required=True),
    "physics": Key("a table", lambda value: isinstance(value, dict), default={}),
    "protocol": Key("a table", lambda value: isinstance(value, dict), default={}),
    "source": Key("a table", lambda value: isinstance(value, dict), default={}),
    "origin": Key("bb84 or directory", lambda value: value in ("bb84", "directory")),
    "delete_after_reading": Key("true or false", lambda value: isinstance(value, bool)),
    "folders": Key("a table of absolute paths by site", _folders, default={}),
}

PHYSICS = {
    "loss_db": _from(0, 1000, "a loss in dB"),
    "depolarizing": Key("a probability from 0 to 1", lambda value: _number(value) and 0 <= value <= 1),
    "eve": Key(
        "none, intercept-resend:FRACTION[:random|z|x|DEGREES], photon-number-splitting[:FRACTION] or "
        "beam-splitting[:FRACTION] with a fraction from 0 to 1",
        _eve,
    ),
    "distance_km": _from(0, 10_000, "a length in km"),
    "attenuation_db_per_km": _from(0, 100, "an attenuation in dB/km"),
    "misalignment": _from(0, 0.5, "a probability"),
    "noise": Key("none or NAME:STRENGTH, with commas between, as bit_flip:0.02", _text),
    "detector_efficiency": Key("a probability above 0, up to 1", lambda value: _number(value) and 0 < value <= 1),
    "dark_count_probability": Key("a probability below 1", lambda value: _number(value) and 0 <= value < 1),
    "dead_time_s": _from(0, 1, "a time in s"),
    "afterpulse_probability": Key("a probability below 1", lambda value: _number(value) and 0 <= value < 1),
    "repetition_rate_hz": _from(1, 1e12, "a rate in Hz"),
}

PROTOCOL = {
    # 2^24 is the quantum link's limit (docs/protocols.md).
    "pulses_per_frame": Key("an integer from 8 to 16777216", _integer(8, 1 << 24)),
    "frame_count": Key("an integer from 1 to 1024", _integer(1, 1024)),
    "key_basis_probability": Key("a probability above 0 and below 1", lambda value: _number(value) and 0 < value < 1),
    "qber_tolerance": Key("a fraction above 0 and below 0.5", lambda value: _number(value) and 0 < value < 0.5),
    "epsilon_secrecy": _epsilon(),
    "epsilon_correctness": _epsilon(),
}

# As the parameter sets have it (qkde/parameter_sets/keys.py), written again for the reason below; a test compares them.
PARAMETER_SETS = ("gys", "ideal", "lab")
_INTENSITY, _OFTEN = _from(0, 10, "a mean photon number"), _from(0, 1, "a probability")
SOURCE = {
    "set": Key(f"one of {', '.join(PARAMETER_SETS)}", lambda value: value in PARAMETER_SETS),
    "source": Key("single-photon or weak-coherent", lambda value: value in ("single-photon", "weak-coherent")),
    "signal_intensity": Key("a mean photon number above 0, up to 10", lambda v: _number(v) and 0 < v <= 10),
    "decoy_intensity": _INTENSITY,
    "vacuum_intensity": _INTENSITY,
    "signal_probability": Key("a probability above 0, up to 1", lambda value: _number(value) and 0 < value <= 1),
    "decoy_probability": _OFTEN,
    "vacuum_probability": _OFTEN,
    "key_basis_probability": PROTOCOL["key_basis_probability"],
}

# What the KME takes (kme/model.py), written again because nothing but the standard library is imported here; a test
# compares the two.
KEY_SIZE_BITS = range(8, 4096 + 1, 8)
MAX_KEYS = range(1, 100_000 + 1)
MAX_KEYS_PER_REQUEST = range(1, 1_000 + 1)
MAX_SAE_IDS = range(0, 32 + 1)

CONNECTION = {
    "master": Key("an SAE id", _text, required=True),
    "slave": Key("an SAE id", _text, required=True),
    "key_size_bits": Key(
        f"a multiple of 8 from {KEY_SIZE_BITS[0]} to {KEY_SIZE_BITS[-1]}",
        lambda value: _integer(KEY_SIZE_BITS[0], KEY_SIZE_BITS[-1])(value) and value in KEY_SIZE_BITS,
    ),
    "max_keys": _count(MAX_KEYS),
    "max_keys_per_request": _count(MAX_KEYS_PER_REQUEST),
    "max_sae_ids": _count(MAX_SAE_IDS),
}
