"""The provenance of a block: a record of everything its length follows from, and the check that it does.

A record has counts, parameters, bounds and digests; never key material, nor a hash of it. Both ends write the same one,
but for `epsilon.authentication` (and what contains it): the sum of an end that was restored from a backup is behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from math import isclose
from typing import TYPE_CHECKING, Any

from qkde.bb84.authentication import forgery_bound
from qkde.bb84.errors import InvalidParameter, RoundFailed
from qkde.bb84.estimation import error_rate
from qkde.bb84.pads import PadOffer, refill_of
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.proofs import RoundCounts, amplified_bits, announced_bits, leak_bits, proven_length

if TYPE_CHECKING:
    from qkde.bb84.account import RoundAccount

SCHEMA = "qkd-lab-provenance/1"
_LIST = [int]
_SHAPE: dict[str, Any] = {
    "schema": str,
    "block_id": str,
    "link": str,
    "owner": str,
    "proof": {"name": str, "citation": str, "phase_error_bound": float},
    "parameters": dict,
    "counts": {
        "pulses": int,
        "detected_pulses": int,
        "sifted_bits": int,
        "key_detected": _LIST,
        "key_errors": _LIST,
        "test_detected": _LIST,
        "test_errors": _LIST,
    },
    "leakage": {
        "parities": int,
        "announced_bits": int,
        "alice": int,
        "both": int,
        "counted": int,
        "verification_bits": int,
        "sample_bits": int,
    },
    "authentication": {"pad": int, "pads_end": int, "transcript_bytes": int},
    "epsilon": {"secrecy": float, "correctness": float, "authentication": float, "sum": float},
    "lengths": {"secret_bits": int, "refill_bits": int, "block_bits": int},
    "digests": {"transcript": str, "record": str},
}
_ONE_ENDS_OWN = ("epsilon.authentication", "epsilon.sum", "digests.record")


class MalformedRecord(ValueError):
    """What is not a provenance record; the text names the member and what was expected."""


def record_of(account: RoundAccount, secret: int, refill: int) -> dict[str, Any]:
    """The record of a round that made `secret` bits, `refill` of them for pads. Plain JSON types."""
    order, parameters, counts = account.order, account.order.parameters, account.counts
    alice, both, counted = account.leaks
    agreed, authentication = account.pads.agreed, account.pads.epsilon
    record = {
        "schema": SCHEMA,
        "block_id": order.block_id,
        "link": order.link,
        "owner": order.owner,
        "proof": {
            **asdict(parameters.proof),
            "phase_error_bound": proven_length(parameters, counts, counted).phase_error_bound,
        },
        "parameters": asdict(parameters),
        "counts": {
            "pulses": parameters.pulses,
            "detected_pulses": account.detected_pulses,
            "sifted_bits": counts.key_bits + counts.sample_bits,
            **asdict(counts),
        },
        "leakage": {
            "parities": account.disclosed_parities,
            "announced_bits": announced_bits(counts),
            "alice": alice,
            "both": both,
            "counted": counted,
            "verification_bits": account.verification_bits,
            "sample_bits": counts.sample_bits,
        },
        "authentication": {
            "pad": agreed.first,
            "pads_end": agreed.end,
            "transcript_bytes": account.transcript_bytes,
        },
        "epsilon": {
            "secrecy": parameters.epsilon_secrecy,
            "correctness": parameters.epsilon_correctness,
            "authentication": authentication,
            "sum": parameters.epsilon_secrecy + parameters.epsilon_correctness + authentication,
        },
        "lengths": {"secret_bits": secret, "refill_bits": refill, "block_bits": secret - refill},
        "digests": {"transcript": f"sha256:{account.transcript_digest.hex()}"},
    }
    record["digests"]["record"] = record_digest(record)
    return json.loads(json.dumps(record))


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of the record without this digest, as compact JSON in ASCII with its members in order."""
    plain = {**record, "digests": {name: text for name, text in record["digests"].items() if name != "record"}}
    octets = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode("ascii")
    return f"sha256:{sha256(octets).hexdigest()}"


def check(record: Any) -> list[str]:
    """What does not hold, a line each; none where the length follows. Raises MalformedRecord."""
    _check_shape(record, _SHAPE, "")
    if record["schema"] != SCHEMA:
        raise MalformedRecord(f"schema is {record['schema']!r}: expected {SCHEMA!r}")
    parameters = _parameters(record["parameters"])
    return [
        f"{member}: the record has {found}, expected {expected}"
        for member, expected, found in _compared(record, parameters)
        if not _same(expected, found)
    ]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Where the records of the two ends differ, beyond the sum of bounds that each end has for itself."""
    ones, others = dict(_flat(one)), dict(_flat(other))
    return [
        f"{member}: {ones.get(member)!r} at one end, {others.get(member)!r} at the other"
        for member in sorted(ones.keys() | others.keys())
        if member not in _ONE_ENDS_OWN and ones.get(member) != others.get(member)
    ]


def _compared(record: dict[str, Any], parameters: RoundParameters) -> Iterator[tuple[str, Any, Any]]:
    """(member, what it must be, what it is). Stops where nothing further can be computed."""
    found, leakage, epsilon, lengths = (record[name] for name in ("counts", "leakage", "epsilon", "lengths"))
    counts = RoundCounts(*(tuple(found[part.name]) for part in fields(RoundCounts)))
    yield "digests.record", record_digest(record), record["digests"]["record"]
    intensity_count = max(1, len(parameters.intensities))
    for part in fields(RoundCounts):
        if len(found[part.name]) != intensity_count:
            yield f"counts.{part.name}", f"{intensity_count} numbers", found[part.name]
            return
    for basis in ("key", "test"):
        detected, errors = found[f"{basis}_detected"], found[f"{basis}_errors"]
        if any(wrong > all_ for wrong, all_ in zip(errors, detected, strict=True)):
            yield f"counts.{basis}_errors", f"up to {detected}", errors
            return
    yield "counts.pulses", parameters.pulses, found["pulses"]
    yield "counts.sifted_bits", counts.key_bits + counts.sample_bits, found["sifted_bits"]
    if not found["sifted_bits"] <= found["detected_pulses"] <= found["pulses"]:
        yield "counts.detected_pulses", "from sifted_bits to pulses", found["detected_pulses"]
    qber = error_rate(sum(counts.test_errors), counts.sample_bits)
    if qber is None or qber > parameters.qber_tolerance:
        yield "counts.test_errors", f"a QBER of up to {parameters.qber_tolerance:g}", qber
    yield "leakage.verification_bits", parameters.verification_bits, leakage["verification_bits"]
    yield "leakage.sample_bits", counts.sample_bits, leakage["sample_bits"]
    yield "leakage.announced_bits", announced_bits(counts), leakage["announced_bits"]
    leaks = leak_bits(parameters, leakage["parities"], counts)
    for name, bits in zip(("alice", "both", "counted"), leaks, strict=True):
        yield f"leakage.{name}", bits, leakage[name]
    yield "epsilon.secrecy", parameters.epsilon_secrecy, epsilon["secrecy"]
    yield "epsilon.correctness", parameters.epsilon_correctness, epsilon["correctness"]
    parts = [epsilon[name] for name in ("secrecy", "correctness", "authentication")]
    yield "epsilon.sum", sum(parts), epsilon["sum"]
    own = 2 * forgery_bound(record["authentication"]["transcript_bytes"])
    if epsilon["authentication"] < own * (1 - 1e-9):
        yield "epsilon.authentication", f"at least this round's {own:g}", epsilon["authentication"]
    for member in ("name", "citation"):
        yield f"proof.{member}", getattr(parameters.proof, member), record["proof"][member]
    try:
        proven = proven_length(parameters, counts, leaks[-1])
    except RoundFailed as error:
        yield "lengths.secret_bits", f"none: {error.reason}", lengths["secret_bits"]
        return
    yield "proof.phase_error_bound", proven.phase_error_bound, record["proof"]["phase_error_bound"]
    secret = amplified_bits(parameters, proven)
    yield "lengths.secret_bits", secret, lengths["secret_bits"]
    try:
        agreed = PadOffer("verified", record["authentication"]["pad"], record["authentication"]["pads_end"])
        refill = refill_of(agreed, secret, parameters.pads_kept)
    except (RoundFailed, ValueError) as error:
        yield "lengths.refill_bits", f"none: {error}", lengths["refill_bits"]
        return
    yield "lengths.refill_bits", refill, lengths["refill_bits"]
    yield "lengths.block_bits", secret - refill, lengths["block_bits"]


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, int | float):
        return isclose(expected, found, rel_tol=1e-9)  # another machine's logarithms
    return expected == found


def _parameters(values: dict[str, Any]) -> RoundParameters:
    kinds = {part.name: part.type for part in fields(RoundParameters)}
    if missing := sorted(kinds.keys() ^ values.keys()):
        raise MalformedRecord(f"parameters.{_shown(missing[0])}: missing, or unknown")
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return RoundParameters(**plain)
    except InvalidParameter as error:
        raise MalformedRecord(f"parameters: {error}") from None


def _check_shape(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise MalformedRecord(f"{where or 'a provenance record'}: expected an object")
        if wrong := sorted(shape.keys() ^ value.keys()):
            what = "missing" if wrong[0] in shape else "unknown"
            raise MalformedRecord(f"{where}{'.' if where else ''}{_shown(wrong[0])}: {what}")
        for name, part in shape.items():
            _check_shape(value[name], part, f"{where}.{name}" if where else name)
    elif shape is _LIST:
        if not isinstance(value, list) or not value:
            raise MalformedRecord(f"{where}: expected integers, one by intensity")
        for number in value:
            _check_shape(number, int, where)
    elif shape is int:
        if type(value) is not int or not 0 <= value < 2**53:
            raise MalformedRecord(f"{where}: expected an integer of 0 or more, below 2^53, not {value!r:.40}")
    elif shape is float:
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise MalformedRecord(f"{where}: expected a number from 0 to 1, not {value!r:.40}")
    elif not isinstance(value, shape):
        raise MalformedRecord(f"{where}: expected {'an object' if shape is dict else 'a text'}, not {value!r:.40}")
    elif shape is str and not value.isprintable():  # it will be shown on a terminal
        raise MalformedRecord(f"{where}: expected a text of printable characters, not {value!r:.40}")


def _shown(name: str) -> str:
    """A member's name from a record, as it can be shown on a terminal."""
    return name[:40] if name.isprintable() else ascii(name[:40])


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(part, f"{where}.{name}" if where else name)
    else:
        yield where, value
