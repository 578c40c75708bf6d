"""Where a KME can be cut off: each call that it makes, to a store or to the other KME, is counted and may be struck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from kme.errors import Unavailable

from kme_steps import Crash

# What may happen at a call. `fail`: the store or the other KME does not answer; `after`: it has done what it was asked.
# `meanwhile`: something else takes place before the call. `twice`: a message arrives twice.
KINDS = ("crash before", "crash after", "fail before", "fail after", "twice", "meanwhile")

Operation = tuple[Any, ...]


class Fault(NamedTuple):
    call: int  # counted from 1
    kind: str
    meanwhile: Operation = ("nothing",)


class KmeCrash(Crash):
    """All processes of a KME are gone; what its stores hold remains."""

    def __init__(self, kme_id: str) -> None:
        super().__init__(kme_id)
        self.kme_id = kme_id


@dataclass(frozen=True)
class Message:
    sender: str
    receiver: str
    method: str
    path: str
    params: Any
    body: Any


class Strikes:
    """Counts the calls during one operation, and does what is planned for them; `run` does operations meanwhile."""

    def __init__(self, run: Callable[[Operation], None]) -> None:
        self._run = run
        self._plan: dict[int, Fault] = {}
        self._call = 0
        self.seen: Counter[str] = Counter()

    def plan(self, faults: tuple[Fault, ...]) -> None:
        self._plan, self._call = {fault.call: fault for fault in faults}, 0

    @contextmanager
    def at_call(self, kme_id: str, failure: type[Exception]) -> Iterator[Fault | None]:
        """What is done inside is a call of this KME, with what the plan has for it."""
        self._call += 1
        fault = self._plan.pop(self._call, None)
        kind = fault.kind if fault else ""
        self.seen[kind] += 1
        if fault and kind == "meanwhile":
            self._run(fault.meanwhile)
        if kind == "crash before":
            raise KmeCrash(kme_id)
        if kind == "fail before":
            raise failure("no answer")
        yield fault
        if kind == "crash after":
            raise KmeCrash(kme_id)
        if kind == "fail after":
            raise failure("the answer is lost")

    def watch(self, kme_id: str, entity: Any, saw: Callable[..., None]) -> None:
        """Counts a KME's scripts and transactions. `saw` is told of each script that took place."""
        run, transaction = entity.keystore.run, entity.database.transaction

        def watched_run(script: str, keys: list[str], args: list[Any]) -> Any:
            with self.at_call(kme_id, Unavailable):
                found = run(script, keys, args)
                self.seen[f"{script} {found.decode()}" if isinstance(found, bytes) else script] += 1
                saw(entity, script, keys, args, found)
                return found

        @contextmanager
        def watched_transaction() -> Iterator[Any]:
            with self.at_call(kme_id, Unavailable), transaction() as sql:
                yield sql

        entity.keystore.run = watched_run
        entity.database.transaction = watched_transaction
