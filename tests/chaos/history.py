"""What the clients of a network under fault saw, in order, and what must hold of it whatever happened.

A key appears by its key_ID and the SHA-256 of its bits. An operation is `ok`, `failed` (the KME said no, and had not
been asked in vain before) or `unknown`: no answer came, or one that leaves open whether it took place.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


@dataclass(frozen=True)
class Operation:
    """`role` is master or slave; `keys` are pairs of key_ID and hash: with an outcome other than ok, of the key_IDs
    asked for, where the caller named any. Times are seconds of a monotonic clock."""

    role: str
    sae: str
    other_sae: str
    invoked_s: float
    answered_s: float
    outcome: str
    status: int | None = None
    message: str = ""
    keys: tuple[tuple[str, str], ...] = ()


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


def violations(operations: Iterable[Operation]) -> list[str]:
    """Everything in a history that the invariants forbid, in words; invariants 1 to 5.

    It is checked after every key that was given to a master has been asked for by its slave until an answer came.
    """
    operations = list(operations)
    found = [f"server error {one.status} for {one.sae}: {one.message}" for one in operations if one.status == 500]
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)  # (role, key_ID) -> hashes
    pairs: dict[str, tuple[str, str]] = {}
    asked_in_vain: set[str] = set()
    refused: set[str] = set()
    for one in operations:
        pair = (one.sae, one.other_sae) if one.role == "master" else (one.other_sae, one.sae)
        for key_id, bits in one.keys:
            if one.outcome == OK:
                taken[one.role, key_id].append(bits)
                if pairs.setdefault(key_id, pair) != pair:
                    found.append(f"key {key_id} of {pairs[key_id]} was given to {one.sae} for {pair}")
            elif one.outcome == UNKNOWN:
                asked_in_vain.add(key_id)
            else:
                refused.add(key_id)
    found += [f"key {key_id} came {len(bits)} times to its {role}" for (role, key_id), bits in taken.items() if
              len(bits) > 1]  # fmt: skip
    for (role, key_id), bits in taken.items():
        if role == "master":
            theirs = taken.get(("slave", key_id))
            if theirs and theirs[0] != bits[0]:
                found.append(f"key {key_id} is not the same at both ends")
            if not theirs and key_id not in asked_in_vain:
                found.append(f"key {key_id} was given to its master and is lost to its slave")
    # 256 bits that come twice are not chance.
    used = Counter(bits for (role, _), all_bits in taken.items() if role == "master" for bits in set(all_bits))
    found += [f"bits of {count} keys are the same" for count in used.values() if count > 1]
    return found


def figures(operations: Iterable[Operation]) -> dict[str, int]:
    """What a report of a run tells: deliveries checked, and of each violation how often."""
    operations = list(operations)
    ok = [one for one in operations if one.outcome == OK]
    return {
        "operations": len(operations),
        "deliveries": sum(len(one.keys) for one in ok),
        "unknown": sum(one.outcome == UNKNOWN for one in operations),
        "server_errors": sum(one.status == 500 for one in operations),
    }


def now_s() -> float:
    return time.monotonic()
