"""Inputs as nobody should send them: arbitrary octets, valid ones that were altered, JSON with a strange part.

The same ones in every run; `FUZZ_EXAMPLES=20000` in the environment tries more of them for each test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from report import Report

# Fixtures are shared by all inputs of a test on purpose: a server that one of them has harmed must show it.
FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Tried:
    """Counts, in the report of the run, the inputs that were refused as they should be."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def refused(self) -> None:
        self._report.malformed_inputs += 1

    def only(self, documented: type[Exception], parse: Callable[..., Any], *arguments: Any) -> Any:
        """What `parse` makes of the arguments; None where it refuses them with the documented error, in not too many
        words. Every other error is the test's."""
        try:
            return parse(*arguments)
        except documented as error:
            assert 0 < len(str(error)) < 2000
            self.refused()
            return None

    def status(self, code: int) -> int:
        """Counts the status of an answer, which is no server error."""
        self._report.malformed(code)
        assert code != 500
        return code


TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\udfff\ud800",
        "\u202e",
        "\x1b[2J",
        "a" * 256,
        "é" * 200,
        "../..",
        "%00",
        "null",
        "1",
    ]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**32, 2**53, 2**63, 2**64, 10**17, 10**18, 10**400, -(10**30), 0.5, 1e308, 1e999])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(TEXTS, parts, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value, as paths of names and indices."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in inside for place in places(part, (*path, name)))]


@st.composite
def strange_values(draw: st.DrawFn, valid: Any) -> Any:
    """`valid` with one to three parts left out, replaced or added to."""
    value = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(VALUES)
            continue
        parent = value
        for name in path[:-1]:
            parent = parent[name]
        act = draw(st.sampled_from(("replace", "replace", "leave out", "add")))
        if act == "replace":
            parent[path[-1]] = draw(VALUES)
        elif act == "leave out":
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[draw(TEXTS)] = draw(VALUES)
        else:
            parent.append(draw(VALUES))
    return value


@st.composite
def strange_octets(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` with some octets altered, left out, put in, repeated or moved."""
    octets = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(octets))] * 2)))
        last = min(last, first + 40)
        act = draw(st.sampled_from(("alter", "alter", "leave out", "put in", "repeat", "cut")))
        if act == "alter" and first < len(octets):
            octets[first] = draw(st.integers(0, 255))
        elif act == "leave out":
            del octets[first:last]
        elif act == "put in":
            octets[first:first] = draw(st.binary(min_size=1, max_size=20))
        elif act == "repeat":
            octets[first:first] = octets[first:last] * draw(st.integers(1, 3))
        elif act == "cut":
            del octets[last:]
    return bytes(octets)


def json_octets(value: Any) -> bytes:
    return json.dumps(value).encode()  # half surrogates as \ud800, NaN as NaN


def bodies(valid: Any) -> st.SearchStrategy[bytes]:
    """Bodies instead of the JSON `valid`: strange values, altered octets, any octets, and some that parsers fear."""
    feared = [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 5000,
        b'{"a":1,"a":2}',
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b"NaN",
    ]
    return (
        strange_values(valid).map(json_octets)
        | strange_octets(json_octets(valid))
        | st.binary(max_size=60)
        | st.sampled_from(feared)
    )
