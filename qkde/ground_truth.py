"""What Eve really knows, from the simulator's private record. Neither Alice nor Bob can see any of it.

`qkde.link.eve_record` has what she knows before anything is said in public. Every parity and every bit of the
verification hash tells her at most one bit more, and after privacy amplification to ℓ bits she has at most
log2(1 + 2^(ℓ − H₂)) bits of the key (Bennett, Brassard, Crépeau, Maurer 1995, generalised privacy amplification), with
H₂ the collision entropy that is left to her.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp2, log1p
from typing import Any

from qkde.link.eve_record import EveRecord


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


def truth_of_round(record: EveRecord, report: Mapping[str, Any]) -> GroundTruth:
    """Beside what an end claims: `report` is its `RoundReport.to_json()`."""
    return ground_truth(
        record,
        secret_bits=report["secret_bits"],
        public_bits=report["leak_alice"] + report["parameters"]["verification_bits"],
        proof_allowance_bits=report["proof_allowance_bits"],
    )


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
