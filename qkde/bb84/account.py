"""The running account of a round: what both ends count, each for itself, and the length that follows from it."""

from dataclasses import asdict, dataclass, field, replace
from operator import add

import numpy as np

from qkde.bb84.decoy_statistics import ProvenLength
from qkde.bb84.errors import MalformedMessage, RoundFailed
from qkde.bb84.estimation import error_rate, wilson_interval
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.intensities import counts_of
from qkde.bb84.messages import StartRound
from qkde.bb84.pads import RoundPads
from qkde.bb84.ports import Clock
from qkde.bb84.proofs import RoundCounts, amplified_bits, leak_bits, proven_length
from qkde.bb84.provenance import record_of
from qkde.bb84.report import RoundReport
from qkde.bb84.sifting import SiftedBits


@dataclass
class RoundAccount:
    """Counts of one round at one end; Alice and Bob never exchange their accounts, only compare what follows."""

    end: str
    order: StartRound
    clock: Clock
    pads: RoundPads
    detected_pulses: int = 0
    counts: RoundCounts = field(init=False)
    disclosed_parities: int = 0
    reconciliation_messages: int = 0
    verification_bits: int = 0
    transcripts_agree: bool | None = None
    transcript_digest: bytes = b""
    transcript_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started_s = self._marked_s = self.clock()
        nothing = self.by_intensity(np.zeros(0, np.uint8))
        self.counts = RoundCounts(nothing, nothing)

    def spend(self, stage: str) -> None:
        """Put the time since the last call down to `stage`."""
        now_s = self.clock()
        self.stages[stage] = self.stages.get(stage, 0.0) + now_s - self._marked_s
        self._marked_s = now_s

    @property
    def key_bits(self) -> int:
        return self.counts.key_bits

    @property
    def sample_bits(self) -> int:
        return self.counts.sample_bits

    @property
    def leaks(self) -> tuple[int, int, int]:
        """(Alice's, both ends', the one that counts)."""
        return leak_bits(self.order.parameters, self.disclosed_parities, self.counts)

    def sift(self, detected_pulses: int, sifted: SiftedBits) -> None:
        """Count a frame."""
        self.detected_pulses += detected_pulses
        key = map(add, self.counts.key_detected, self.by_intensity(sifted.key_choices))
        test = map(add, self.counts.test_detected, self.by_intensity(sifted.sample_choices))
        self.counts = RoundCounts(tuple(key), tuple(test))

    def disclose(self, sifted: SiftedBits, other_sample: np.ndarray) -> None:
        """The other end's bits of the test basis are known too."""
        wrong = sifted.sample_choices[sifted.sample != other_sample]
        self.counts = replace(self.counts, test_errors=self.by_intensity(wrong))

    def by_intensity(self, choices: np.ndarray) -> tuple[int, ...]:
        """How many pulses of each intensity there are among these."""
        return counts_of(choices, len(self.order.parameters.intensities))

    def correct(self, corrected_counts: tuple[int, ...]) -> None:
        """Bob says how many bits he has corrected, by intensity. Raises MalformedMessage."""
        detected = self.counts.key_detected
        if len(corrected_counts) != len(detected) or any(
            count > most for count, most in zip(corrected_counts, detected, strict=True)
        ):
            raise MalformedMessage(f"corrected_counts {corrected_counts} do not fit the {detected} key bits")
        self.counts = replace(self.counts, key_errors=corrected_counts)

    def check_sifted(self) -> None:
        """Both kinds of bits must be there: the key, and the sample that tells its phase errors."""
        if not self.key_bits + self.sample_bits:
            raise RoundFailed(f"nothing was sifted from {self.detected_pulses} detected pulses")
        if not self.sample_bits or not self.key_bits:
            which = "key" if self.sample_bits else "test"
            raise RoundFailed(f"nothing was sifted in the {which} basis; a round needs more pulses, or less loss")

    def check_sample(self) -> None:
        """The fixed-length proof's one test: the QBER of the test basis against the preset tolerance."""
        qber = error_rate(sum(self.counts.test_errors), self.sample_bits)
        tolerance = self.order.parameters.qber_tolerance
        if qber > tolerance:
            raise RoundFailed(f"QBER {qber:.3f} in the test basis is over the tolerance {tolerance:g}")
        self.refill_bits()  # with no leakage yet: no need to reconcile what can't give a key

    def secret_bits(self) -> int:
        """The length both ends must come to, a multiple of 8; RoundFailed when nothing is left."""
        chosen, leaked = self.order.parameters, self.leaks[-1]
        proven = proven_length(chosen, self.counts, leaked)
        length = amplified_bits(chosen, proven)
        if not length:
            single = f", {proven.single_photon_events:.0f} key bits from single photons" if chosen.intensities else ""
            raise RoundFailed(
                f"no secret bits are left: {self.key_bits} key bits and {self.sample_bits} sample bits{single}, "
                f"phase error bound {proven.phase_error_bound:.3f}, {leaked} bits leaked in reconciliation"
            )
        return length

    def finish(self, transcript: bytes, digest: bytes) -> None:
        """The transcript that the tags are over."""
        self.transcript_bytes, self.transcript_digest = len(transcript), digest

    def refill_bits(self) -> int:
        """How many of the secret bits become pads; RoundFailed when they do not even pay for the round's own."""
        return self.pads.plan_refill(self.secret_bits(), self.order.parameters.pads_kept)

    def report(self, block_bits: int, abort_reason: str | None) -> RoundReport:
        if abort_reason and self.transcripts_agree is False and "authentication failed" not in abort_reason:
            abort_reason = f"authentication failed: the two ends saw different messages ({abort_reason})"
        counts, parameters = self.counts, self.order.parameters
        errors, compared = (0, 0) if counts.test_errors is None else (sum(counts.test_errors), self.sample_bits)
        qber_test = error_rate(errors, compared)
        qber_key = None
        if counts.key_errors is not None:
            qber_key = error_rate(sum(counts.key_errors), self.key_bits)
            errors, compared = errors + sum(counts.key_errors), compared + self.key_bits
        proven = self._proven()
        leak_alice, leak_both, leak_counted = self.leaks
        refill_bits = 0 if abort_reason else self.pads.refill_bits
        secret_bits = block_bits + refill_bits
        return RoundReport(
            end=self.end,
            block_id=self.order.block_id,
            link=self.order.link,
            owner=self.order.owner,
            outcome="key" if abort_reason is None else "aborted",
            abort_reason=abort_reason,
            pulses=parameters.pulses,
            detected_pulses=self.detected_pulses,
            sifted_bits=self.key_bits + self.sample_bits,
            sample_bits=self.sample_bits,
            qber=error_rate(errors, compared),
            qber_interval=wilson_interval(errors, compared),
            qber_test=qber_test,
            qber_key=qber_key,
            phase_error_bound=proven.phase_error_bound if proven else None,
            proof_allowance_bits=self.key_bits - proven.unknown_bits if proven else None,
            disclosed_bits=self.sample_bits + leak_counted + self.verification_bits,
            leak_alice=leak_alice,
            leak_both=leak_both,
            reconciliation_efficiency=self._efficiency(qber_key),
            reconciliation_messages=self.reconciliation_messages,
            secret_bits=secret_bits,
            secret_bits_per_pulse=secret_bits / parameters.pulses,
            authentication_bits=self.pads.used_bits,
            refill_bits=refill_bits,
            block_bits=block_bits,
            pad_bits_left=self.pads.left_bits,
            epsilon_authentication=self.pads.epsilon,
            transcripts_agree=self.transcripts_agree,
            elapsed_s=self.clock() - self._started_s,
            stages=dict(self.stages),
            parameters={"source": parameters.source, "proof": parameters.proof.name, **asdict(parameters)},
            counts=asdict(counts),
            provenance=None if abort_reason else record_of(self, secret_bits, refill_bits),
        )

    def _proven(self) -> ProvenLength | None:
        """None where the sample is not known, or no proof holds."""
        if not self.key_bits or self.counts.test_errors is None:
            return None
        try:
            return proven_length(self.order.parameters, self.counts, self.leaks[-1])
        except RoundFailed:
            return None

    def _efficiency(self, qber_key: float | None) -> float | None:
        """f: disclosed parities over n·h(Q), Shannon's least."""
        least = self.key_bits * binary_entropy(qber_key) if qber_key else 0
        return self.disclosed_parities / least if least else None
