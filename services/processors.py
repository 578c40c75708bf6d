"""Workers that stay on one processor each, where each processor gets as many.

The threads of a worker take turns at Python's lock. One that is woken on another processor finds the lock taken, and
waits a second time; where all of them are on one, it runs when the one before has nothing left to do, and finds in the
caches what that one had. How much that makes: docs/performance.md. A handshake is another matter: most of it is
cryptography that needs no lock, and is done wherever there is room.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

_all: set[int] = set()  # those that this process might use before it was to stay on one


def choose(worker_count: int, taken: Iterable[int | None]) -> int | None:
    """For one more of so many workers, beside those that stay on `taken`: the processor that fewest of them have.

    None where not every processor would have as many: of kept connections each worker has as many as the next. Nor do
    fewer workers than processors gain for certain: one of these serves a disk's interrupts, for instance, and which
    that is can't be told.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) == 1 or worker_count % len(usable):
        return None
    counts = Counter(taken)
    return min(usable, key=counts.__getitem__)


def stay(processor: int) -> None:
    """This thread, and those that it begins."""
    _all.update(os.sched_getaffinity(0))
    _move({processor})


@contextmanager
def anywhere() -> Iterator[None]:
    """For what this thread does without Python's lock."""
    if not _all:
        yield
        return
    own = os.sched_getaffinity(0)
    _move(_all)
    try:
        yield
    finally:
        _move(own)


def _move(processors: set[int]) -> None:
    with suppress(OSError):  # they were taken from this process meanwhile: the kernel has moved it already
        os.sched_setaffinity(0, processors)
