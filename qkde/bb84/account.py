"""The running account of a round: what both ends count, each for itself, and the length that follows from it."""

from dataclasses import asdict, dataclass, field
from math import floor

from qkde.bb84.errors import RoundFailed
from qkde.bb84.estimation import error_rate, wilson_interval
from qkde.bb84.finite_key import binary_entropy, phase_error_bound, secret_length
from qkde.bb84.messages import StartRound
from qkde.bb84.pads import RoundPads
from qkde.bb84.ports import Clock
from qkde.bb84.report import RoundReport


@dataclass
class RoundAccount:
    """Counts of one round at one end; Alice and Bob never exchange their accounts, only compare what follows."""

    order: StartRound
    clock: Clock
    pads: RoundPads
    detected_pulses: int = 0
    key_bits: int = 0
    sample_bits: int = 0
    sample_errors: int | None = None
    corrected_count: int | None = None
    disclosed_parities: int = 0
    reconciliation_messages: int = 0
    verification_bits: int = 0
    transcripts_agree: bool | None = None
    stages: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started_s = self._marked_s = self.clock()

    def spend(self, stage: str) -> None:
        """Put the time since the last call down to `stage`."""
        now_s = self.clock()
        self.stages[stage] = self.stages.get(stage, 0.0) + now_s - self._marked_s
        self._marked_s = now_s

    @property
    def leak_alice(self) -> int:
        return self.disclosed_parities

    @property
    def leak_both(self) -> int:
        return 2 * self.disclosed_parities  # Bob's part: his own parity of each block he asked about

    @property
    def leak_counted(self) -> int:
        return self.leak_both if self.order.parameters.leak_counted == "both" else self.leak_alice

    def check_sifted(self) -> None:
        """Both kinds of bits must be there: the key, and the sample that tells its phase errors."""
        if not self.key_bits + self.sample_bits:
            raise RoundFailed(f"nothing was sifted from {self.detected_pulses} detected pulses")
        if not self.sample_bits or not self.key_bits:
            which = "key" if self.sample_bits else "test"
            raise RoundFailed(f"nothing was sifted in the {which} basis; a round needs more pulses, or less loss")

    def check_sample(self) -> None:
        """The fixed-length proof's one test: the QBER of the test basis against the preset tolerance."""
        qber = error_rate(self.sample_errors, self.sample_bits)
        tolerance = self.order.parameters.qber_tolerance
        if qber > tolerance:
            raise RoundFailed(f"QBER {qber:.3f} in the test basis is over the tolerance {tolerance:g}")
        self.refill_bits()  # with no leakage yet: no need to reconcile what can't give a key

    def secret_bits(self) -> int:
        """The length both ends must come to, a multiple of 8; RoundFailed when nothing is left."""
        chosen = self.order.parameters
        length = secret_length(
            self.key_bits,
            self.sample_bits,
            qber_tolerance=chosen.qber_tolerance,
            leak_bits=self.leak_counted,
            epsilon_secrecy=chosen.epsilon_secrecy,
            correctness_bits=chosen.verification_bits,
        )
        whole_bytes = floor(length - chosen.security_margin_bits) // 8
        if whole_bytes <= 0:
            raise RoundFailed(
                f"no secret bits are left: {self.key_bits} key bits and {self.sample_bits} sample bits, "
                f"phase error bound {self._phase_error_bound():.3f}, {self.leak_counted} bits leaked in reconciliation"
            )
        return 8 * whole_bytes

    def refill_bits(self) -> int:
        """How many of the secret bits become pads; RoundFailed when they do not even pay for the round's own."""
        return self.pads.plan_refill(self.secret_bits(), self.order.parameters.pads_kept)

    def report(self, block_bits: int, abort_reason: str | None) -> RoundReport:
        if abort_reason and self.transcripts_agree is False and "authentication failed" not in abort_reason:
            abort_reason = f"authentication failed: the two ends saw different messages ({abort_reason})"
        errors, compared = self.sample_errors or 0, self.sample_bits if self.sample_errors is not None else 0
        qber_test = error_rate(errors, compared)
        qber_key = None
        if self.corrected_count is not None:
            qber_key = error_rate(self.corrected_count, self.key_bits)
            errors, compared = errors + self.corrected_count, compared + self.key_bits
        pulses = self.order.parameters.pulses
        refill_bits = 0 if abort_reason else self.pads.refill_bits
        secret_bits = block_bits + refill_bits
        return RoundReport(
            block_id=self.order.block_id,
            link=self.order.link,
            owner=self.order.owner,
            outcome="key" if abort_reason is None else "aborted",
            abort_reason=abort_reason,
            pulses=pulses,
            detected_pulses=self.detected_pulses,
            sifted_bits=self.key_bits + self.sample_bits,
            sample_bits=self.sample_bits,
            qber=error_rate(errors, compared),
            qber_interval=wilson_interval(errors, compared),
            qber_test=qber_test,
            qber_key=qber_key,
            phase_error_bound=self._phase_error_bound(),
            disclosed_bits=self.sample_bits + self.leak_counted + self.verification_bits,
            leak_alice=self.leak_alice,
            leak_both=self.leak_both,
            reconciliation_efficiency=self._efficiency(qber_key),
            reconciliation_messages=self.reconciliation_messages,
            secret_bits=secret_bits,
            secret_bits_per_pulse=secret_bits / pulses,
            authentication_bits=self.pads.used_bits,
            refill_bits=refill_bits,
            block_bits=block_bits,
            pad_bits_left=self.pads.left_bits,
            epsilon_authentication=self.pads.epsilon,
            transcripts_agree=self.transcripts_agree,
            elapsed_s=self.clock() - self._started_s,
            stages=dict(self.stages),
            parameters=asdict(self.order.parameters),
        )

    def _phase_error_bound(self) -> float | None:
        if not self.key_bits or not self.sample_bits:
            return None
        chosen = self.order.parameters
        return phase_error_bound(self.key_bits, self.sample_bits, chosen.qber_tolerance, chosen.epsilon_secrecy)

    def _efficiency(self, qber_key: float | None) -> float | None:
        """f: disclosed parities over n·h(Q), Shannon's least."""
        least = self.key_bits * binary_entropy(qber_key) if qber_key else 0
        return self.disclosed_parities / least if least else None
