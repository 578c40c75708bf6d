"""What clients saw of a network under faults, and the check that no invariant was broken.

An operation is invoked, and later answered or not. Its outcome is `ok`, `failed` (the KME said no) or `unknown`: no
answer came, or one that leaves open whether it took place.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from report import is_server_error

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
MASTER, SLAVE = "master", "slave"


@dataclass(frozen=True)
class Operation:
    """`role` is master or slave; `keys` are pairs of key_ID and hash: with an outcome other than ok, of the key_IDs
    asked for; `count` is how many keys were asked for. Times are seconds of a monotonic clock."""

    role: str
    sae: str
    other_sae: str
    invoked_s: float
    answered_s: float
    outcome: str
    status: int | None = None
    message: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    count: int = 0

    @property
    def pair(self) -> tuple[str, str]:
        """Master and slave."""
        return (self.sae, self.other_sae) if self.role == MASTER else (self.other_sae, self.sae)


@dataclass(frozen=True)
class Violation:
    """`kind`: lost, twice, unequal, reused, foreign, unanswered or server error."""

    kind: str
    message: str


def digest(bits: bytes) -> str:
    return hashlib.sha256(bits).hexdigest()


@dataclass
class History:
    """Safe to write from several threads."""

    operations: list[Operation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, operation: Operation) -> None:
        with self._lock:
            self.operations.append(operation)

    def snapshot(self) -> list[Operation]:
        with self._lock:
            return list(self.operations)

    def succeeded_since(self, role: str, sae: str, moment_s: float) -> bool:
        return any(
            one.role == role and one.sae == sae and one.outcome == OK and one.invoked_s >= moment_s
            for one in reversed(self.snapshot())
        )


def violations(operations: Iterable[Operation]) -> list[Violation]:
    """Everything in a history that the invariants forbid; invariants 1 to 5.

    It is checked after every key that was given to a master has been asked for by its slave until an answer came.
    """
    operations = list(operations)
    found = [
        Violation("server error", f"{one.status} for {one.sae}: {one.message}")
        for one in operations
        if is_server_error(one.status)
    ]
    given, fetched = _taken(operations, MASTER), _taken(operations, SLAVE)
    for role, taken in ((MASTER, given), (SLAVE, fetched)):
        for key_id, deliveries in taken.items():
            by_sae = Counter(one.sae for one, _ in deliveries)
            found += [Violation("twice", f"key {key_id} came {count} times to its {role} {sae}")
                      for sae, count in by_sae.items() if count > 1]  # fmt: skip
            pairs = {one.pair for one, _ in [*given.get(key_id, []), *deliveries]}
            if len(pairs) > 1:
                found.append(Violation("foreign", f"key {key_id} was given to several pairs: {sorted(pairs)}"))
    answers = _slaves_answers(operations)
    for key_id, deliveries in given.items():
        one, bits = deliveries[0]
        theirs = {other for _, other in fetched.get(key_id, [])}
        if theirs - {bits}:
            found.append(Violation("unequal", f"key {key_id} is not the same at both ends"))
        outcomes = answers.get((one.pair[1], key_id), [])
        if OK not in outcomes and FAILED not in outcomes:
            found.append(Violation("unanswered", f"key {key_id}: its slave has not got an answer"))
        elif OK not in outcomes and UNKNOWN not in outcomes[: outcomes.index(FAILED)]:
            found.append(Violation("lost", f"key {key_id} was given to its master and is lost to its slave"))
    # 256 bits that come twice are not chance.
    used = Counter(bits for deliveries in given.values() for bits in {bits for _, bits in deliveries})
    found += [Violation("reused", f"bits of {count} keys are the same") for count in used.values() if count > 1]
    return found


def delivered_keys(operations: Iterable[Operation], saes: Collection[str]) -> tuple[int, int]:
    """How many keys the SAEs of a site got, as its KME must have counted them: at least, and at most.

    A key that its slave asked for without getting to know the outcome, and was refused afterwards, was delivered: else
    it would be lost. Whether an `enc_keys` of unknown outcome took place nobody can tell from outside.
    """
    operations = [one for one in operations if one.sae in saes]
    least = sum(len(one.keys) for one in operations if one.role == MASTER and one.outcome == OK)
    answers = _slaves_answers(operations)
    least += sum(OK in outcomes or UNKNOWN in outcomes[: outcomes.index(FAILED)]
                 for outcomes in answers.values() if {OK, FAILED} & set(outcomes))  # fmt: skip
    unknown = sum(one.count for one in operations if one.role == MASTER and one.outcome == UNKNOWN)
    return least, least + unknown


def deliveries(operations: Iterable[Operation]) -> int:
    return sum(len(one.keys) for one in operations if one.outcome == OK)


def now_s() -> float:
    return time.monotonic()


def _taken(operations: Iterable[Operation], role: str) -> dict[str, list[tuple[Operation, str]]]:
    """By key_ID what was delivered in that role: the operation and the hash."""
    taken = defaultdict(list)
    for one in operations:
        if one.role == role and one.outcome == OK:
            for key_id, bits in one.keys:
                taken[key_id].append((one, bits))
    return taken


def _slaves_answers(operations: Iterable[Operation]) -> dict[tuple[str, str], list[str]]:
    """By slave and key_ID the outcomes of its requests, in their order."""
    answers = defaultdict(list)
    for one in sorted(operations, key=lambda one: one.invoked_s):
        if one.role == SLAVE:
            for key_id, _ in one.keys:
                answers[one.sae, key_id].append(one.outcome)
    return answers
