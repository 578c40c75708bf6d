"""Where the randomness of a simulated round comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import numpy as np

from qkde.bb84.randomness import OsRandomness, SeededRandomness


@dataclass(frozen=True)
class Chance:
    """`alice` and `bob` draw their secrets and public seeds, `nature` all that the link does."""

    alice: OsRandomness | SeededRandomness
    bob: OsRandomness | SeededRandomness
    nature: np.random.Generator = field(repr=False)
    block_id: str = field(repr=False)

    @classmethod
    def of(cls, seed: int | None) -> Chance:
        """Without a seed from the operating system; with one (0 or more) the same at every run, for experiments."""
        if seed is None:
            return cls(OsRandomness(), OsRandomness(), np.random.default_rng(), str(uuid4()))
        alice, bob, nature, block = np.random.SeedSequence(seed).spawn(4)
        block_id = UUID(bytes=block.generate_state(4).tobytes(), version=4)
        one, other = (int(sequence.generate_state(1, np.uint64)[0]) for sequence in (alice, bob))
        return cls(SeededRandomness(one), SeededRandomness(other), np.random.default_rng(nature), str(block_id))
