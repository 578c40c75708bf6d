"""What Eve really knows, from the simulator's private record. Neither Alice nor Bob can see any of it.

Before anything is said in public each key bit is, to Eve, Alice's with a probability p that quantum mechanics gives:
1 where she measured in Alice's basis or holds a stored photon, cos²(Δ) at an angle Δ between the polarisations of
her basis and Alice's, 1/2 otherwise. From that follow, per bit, her Shannon information 1 − h(p) and its collision
entropy −log2(p² + (1−p)²). Every parity and every bit of the verification hash tells her at most one bit more, and
after privacy amplification to ℓ bits she has at most log2(1 + 2^(ℓ − H₂)) bits of the key (Bennett, Brassard, Crépeau,
Maurer 1995, generalised privacy amplification), with H₂ the collision entropy that is left to her.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import cos, exp2, log1p, log2, radians
from typing import Any

import numpy as np

from qkde.bb84.finite_key import binary_entropy
from qkde.link.tap import Bits, Indices, Knowledge


@dataclass
class EveRecord:
    """Running sums over the key bits of a round, before reconciliation. `sure_bits`: those she knows for certain."""

    key_bits: int = 0
    sure_bits: int = 0
    guessed_bits: int = 0
    information_bits: float = 0.0
    collision_entropy_bits: float = 0.0

    def hear(self, knowledge: Iterable[Knowledge], bits: Bits, basis: int, angles_degrees: tuple[float, float],
             key_positions: Indices) -> None:  # fmt: skip
        """The bases of a frame are announced: all of its key bits, at `key_positions`, are in `basis`."""
        guesses, certainty = np.zeros(bits.size, np.uint8), np.full(bits.size, 0.5)
        is_key = np.zeros(bits.size, bool)
        is_key[key_positions] = True
        for part in knowledge:
            self._measured(part, basis, angles_degrees, guesses, certainty)
            self._stored(part, basis, is_key, guesses, certainty)
        certainty = certainty[key_positions]
        self.key_bits += key_positions.size
        self.guessed_bits += int(np.count_nonzero(guesses[key_positions] == bits[key_positions]))
        self.sure_bits += int(np.count_nonzero(certainty > 1 - 1e-12))
        for value, count in zip(*np.unique(certainty, return_counts=True), strict=True):
            self.information_bits += int(count) * (1 - binary_entropy(1 - float(value)))
            self.collision_entropy_bits -= int(count) * log2(float(value) ** 2 + (1 - float(value)) ** 2)

    @staticmethod
    def _measured(part: Knowledge, basis: int, angles: tuple[float, float], guesses: Bits, certainty: Any) -> None:
        for code in np.unique(part.bases):
            here = part.bases == code
            angle = part.own_angle_degrees if code == 2 else angles[code]
            # cos² of 45° is 1/2 but for the round-off.
            agrees = round(cos(radians(angle - angles[basis])) ** 2, 12)
            guesses[part.measured[here]] = part.results[here] if agrees >= 0.5 else 1 - part.results[here]
            certainty[part.measured[here]] = max(agrees, 1 - agrees)

    @staticmethod
    def _stored(part: Knowledge, basis: int, is_key: Any, guesses: Bits, certainty: Any) -> None:
        if part.memory is None or not part.memory.where.size:
            return
        held = part.memory.where + part.start
        wanted = np.flatnonzero(is_key[held])
        guesses[held[wanted]] = part.memory.measure(wanted, np.full(wanted.size, basis, np.uint8))
        certainty[held[wanted]] = 1.0


@dataclass(frozen=True)
class GroundTruth:
    """`eve_information_bits`: at most so much of the final key does she know; 0 where there is none.

    `eve_sifted_information_bits` of the `key_bits` before amplification; `eve_guessed_bits` of them she would have
    right. `proof_allowance_bits`: what the proof took off for her, n·h(phase error bound) or a decoy proof's
    equivalent; `within_proof_bound`: what she took by the quantum channel is not more; None without a key.
    """

    eve_information_bits: float
    eve_sifted_information_bits: float
    eve_sure_bits: int
    eve_guessed_bits: int
    key_bits: int
    proof_allowance_bits: float | None
    within_proof_bound: bool | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def ground_truth(
    record: EveRecord, *, secret_bits: int, public_bits: int, proof_allowance_bits: float | None
) -> GroundTruth:
    """`public_bits`: parities and hash bits said over the key."""
    taken = record.key_bits - record.collision_entropy_bits
    exponent = secret_bits - (record.collision_entropy_bits - public_bits)
    known = 0.0 if not secret_bits else min(float(secret_bits), _log2_of_1_plus_exp2(exponent))
    within = None if not secret_bits or proof_allowance_bits is None else taken <= proof_allowance_bits
    return GroundTruth(
        known,
        record.information_bits,
        record.sure_bits,
        record.guessed_bits,
        record.key_bits,
        proof_allowance_bits,
        within,
    )


def _log2_of_1_plus_exp2(exponent: float) -> float:
    if exponent > 60:
        return exponent
    return log1p(exp2(exponent)) / log1p(1.0) if exponent > -1000 else 0.0
