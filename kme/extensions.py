"""Vendor extensions of a key request (ETSI GS QKD 014 table 10): what each asks for, and whether it can be met.

`python -m kme.extensions` prints docs/extensions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from kme.errors import BadRequest

PREFIX = "qkdlab_"
# The standard's words (table 10, clause 6.2): clients compare them.
MANDATORY_UNSUPPORTED = "not all extension_mandatory parameters are supported"
MANDATORY_NOT_MET = "not all extension_mandatory request options could be met"
_LONGEST_AGE_MS = 10**12


@dataclass(frozen=True)
class Terms:
    """What extensions ask of the keys; without any, whatever the pool has is fine."""

    max_age_ms: int | None = None


class Unmet(Exception):
    """The value can't be met, now or ever; the message says why, for the caller."""


@dataclass(frozen=True)
class Extension:
    """One handler: `apply` narrows the terms to what the member's value asks for, or raises Unmet."""

    name: str
    value: str
    effect: str
    unmet: str
    example: str
    apply: Callable[[Terms, Any], Terms]


def _max_age(terms: Terms, value: Any) -> Terms:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST_AGE_MS:
        raise Unmet(f"expected an integer in 1..{_LONGEST_AGE_MS}")
    return replace(terms, max_age_ms=value if terms.max_age_ms is None else min(value, terms.max_age_ms))


def _route_type(terms: Terms, value: Any) -> Terms:
    if value != "direct":
        raise Unmet("every route is direct" if value == "indirect" else "expected direct or indirect")
    return terms


EXTENSIONS = (
    Extension(
        f"{PREFIX}max_age_ms",
        f"an integer in 1..{_LONGEST_AGE_MS}, milliseconds",
        "Only keys that have been deliverable for at most so long are given; older ones are left in the pool for\n"
        "others. Where it has too few, fresh ones are cut while the request waits. Keys for additional slaves are\n"
        "always fresh. The age is told by the clock of the KME's key store alone.",
        "There are enough keys, but too few are young enough, and no fresh ones can be cut now.",
        "500",
        _max_age,
    ),
    Extension(
        f"{PREFIX}route_type",
        "`direct` or `indirect`",
        "Keys come from a link between the KMEs of master and slave (`direct`), not over other KMEs (`indirect`).",
        "`indirect`: no key is relayed.",
        '"direct"',
        _route_type,
    ),
)
_BY_NAME = {one.name: one for one in EXTENSIONS}


def mandatory_terms(asked: Iterable[tuple[str, Any]]) -> Terms:
    """What `extension_mandatory` demands. Raises BadRequest: an unknown name first, then what can't be met."""
    asked = list(asked)
    if any(name not in _BY_NAME for name, _ in asked):
        raise BadRequest(MANDATORY_UNSUPPORTED)
    terms = Terms()
    for name, value in asked:
        try:
            terms = _BY_NAME[name].apply(terms, value)
        except Unmet as unmet:
            raise BadRequest(MANDATORY_NOT_MET, {name: str(unmet)}) from None
    return terms


def preferred_terms(terms: Terms, asked: Iterable[tuple[str, Any]]) -> Terms:
    """`terms` narrowed by `extension_optional`, as far as it is known and can be met; the rest is ignored."""
    for name, value in asked:
        if name in _BY_NAME:
            try:
                terms = _BY_NAME[name].apply(terms, value)
            except Unmet:
                continue
    return terms


def documentation() -> str:
    """docs/extensions.md."""
    example = f'{{"number":1,"extension_mandatory":[{{"{EXTENSIONS[0].name}":{EXTENSIONS[0].example}}}]}}'
    parts = [
        "# Vendor extensions of a key request",
        f"<!-- Made by `python -m kme.extensions > docs/extensions.md`; names begin with `{PREFIX}`. -->",
        "A member of an object in `extension_mandatory` or `extension_optional` of a POST to `enc_keys`\n"
        f"(ETSI GS QKD 014 table 10): `{example}`.",
        f"One mandatory name that is not below: 400 `{MANDATORY_UNSUPPORTED}`.\n"
        f"One that can't be met, or has another value: 400 `{MANDATORY_NOT_MET}`;\n"
        "its `details` say which and why. What is optional is met where it can be, and otherwise ignored.",
    ]
    for one in EXTENSIONS:
        parts += [
            f"## `{one.name}`",
            f'Value: {one.value}. Example: `{{"{one.name}":{one.example}}}`.',
            one.effect,
            f"Not met: {one.unmet}",
        ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(documentation(), end="")
