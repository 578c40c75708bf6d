"""What a round tells the world: counts and rates, never a bit of key. And the block, which is all key."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Block:
    """One round's secret bits for the KME: `length_bits` of them, a multiple of 8, packed."""

    block_id: str
    link: str
    owner: str
    length_bits: int
    bits: bytes = field(repr=False)


@dataclass(frozen=True)
class RoundReport:
    """A round as one `end` saw it, alice or bob. Rates are fractions, None where undefined; `*_bits` count bits.

    `qber` is over all disclosed and corrected bits and only for people; the security of the key rests on `qber_test`,
    which is compared with the tolerance, and on `phase_error_bound` = tolerance + sampling deviation.
    `proof_allowance_bits`: what the proof takes Eve to know of the key bits by the quantum channel: n·h(φ) of single
    photons; with decoys all but 1 − h(φ) of the bits from single photons. `disclosed_bits` = sample + counted leakage +
    verification hash. `transcripts_agree` is None while nobody compared. `secret_bits` = `refill_bits` (new pads) +
    `block_bits` (the KME's). `authentication_bits`: pad bits the round used up; `pad_bits_left`: this end's balance
    after it; `epsilon_authentication`: forgery bounds of all tags in the link's life. `counts`: detections and errors
    by basis and intensity, see `proofs.RoundCounts`. `provenance`: of a key alone, what its length follows from, see
    `provenance`.
    """

    end: str
    block_id: str
    link: str
    owner: str
    outcome: str
    abort_reason: str | None
    pulses: int
    detected_pulses: int
    sifted_bits: int
    sample_bits: int
    qber: float | None
    qber_interval: tuple[float, float] | None
    qber_test: float | None
    qber_key: float | None
    phase_error_bound: float | None
    proof_allowance_bits: float | None
    disclosed_bits: int
    leak_alice: int
    leak_both: int
    reconciliation_efficiency: float | None
    reconciliation_messages: int
    secret_bits: int
    secret_bits_per_pulse: float
    authentication_bits: int
    refill_bits: int
    block_bits: int
    pad_bits_left: int | None
    epsilon_authentication: float | None
    transcripts_agree: bool | None
    elapsed_s: float
    stages: Mapping[str, float]
    parameters: Mapping[str, Any]
    counts: Mapping[str, Any]
    provenance: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The report as an object of plain JSON types."""
        return asdict(self)
