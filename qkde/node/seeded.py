"""Reproducible rounds, for tests of what uses keys: whoever knows the seed knows every key."""

from __future__ import annotations

import hashlib
from collections import Counter

from qkde.bb84.randomness import SeededRandomness


class SeededRounds:
    """The randomness of each round of one end of a link: of its own, by the round's owner and how many she had before.

    So the n-th block of a KME has the same bits at every run, however the orders of the two KMEs alternate, where the
    link is ideal. `names` tell the ends of links apart: Alice and Bob must not choose the same bases.
    """

    def __init__(self, seed: int, *names: str) -> None:
        self._from = (seed, *names)
        self._counts: Counter[str] = Counter()

    def __call__(self, owner: str) -> SeededRandomness:
        number = self._counts[owner]
        self._counts[owner] += 1
        digest = hashlib.sha256(repr((*self._from, owner, number)).encode()).digest()
        return SeededRandomness(int.from_bytes(digest[:16]))
