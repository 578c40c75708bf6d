"""Bounded memory of what the plots show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

KEPT_S = 600
WINDOW_S = 30.0  # longer than from one round to the next, where keys are used

Sample = list[Any]


class Series:
    """Samples of the last ten minutes, of each link or connection there is; a sample begins with its time."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Sample]] = {}

    def add(self, samples: dict[str, Sample]) -> None:
        """One sample of each; what is not among them any more is forgotten."""
        for gone in self._of.keys() - samples.keys():
            del self._of[gone]
        for name, sample in samples.items():
            self._of.setdefault(name, deque(maxlen=KEPT_S)).append(sample)

    def all(self) -> dict[str, list[Sample]]:
        return {name: list(samples) for name, samples in self._of.items()}


class Rate:
    """How much of something there was per second, over the last WINDOW_S."""

    def __init__(self) -> None:
        self._amounts: deque[tuple[float, float]] = deque()

    def add(self, now_s: float, amount: float) -> None:
        self._amounts.append((now_s, amount))

    def per_s(self, now_s: float) -> float:
        while self._amounts and self._amounts[0][0] <= now_s - WINDOW_S:
            self._amounts.popleft()
        return sum(amount for _, amount in self._amounts) / WINDOW_S


class Newest:
    """The newest of a stream, each once by its id."""

    def __init__(self, kept: int) -> None:
        self._items: deque[dict[str, Any]] = deque(maxlen=kept)
        self._known: deque[str] = deque(maxlen=4 * kept)
        self._ids: set[str] = set()

    def add(self, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of `items`, oldest first, that are new."""
        new = []
        for item in items:
            if item["id"] in self._ids:
                continue
            if len(self._known) == self._known.maxlen:
                self._ids.discard(self._known[0])
            self._known.append(item["id"])
            self._ids.add(item["id"])
            self._items.append(item)
            new.append(item)
        return new

    def all(self) -> list[dict[str, Any]]:
        return list(self._items)
