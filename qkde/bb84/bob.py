"""Bob leads the round: straight-line code over one port, `channel.ask(message) -> message`."""

from dataclasses import replace
from hmac import compare_digest

import numpy as np

from qkde.bb84.account import RoundAccount
from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.bits import pack, unpack
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.errors import (
    Bb84Error,
    DeviceUnavailable,
    MalformedMessage,
    PeerUnreachable,
    ProtocolViolation,
    RoundFailed,
)
from qkde.bb84.estimation import expected_error_rate
from qkde.bb84.intensities import unpack_choices
from qkde.bb84.messages import (
    AbortNoted,
    AbortRound,
    Amplification,
    Amplify,
    AnnounceDetections,
    AnnounceMatches,
    DiscloseSample,
    Finish,
    Finished,
    FramePrepared,
    Message,
    PrepareFrame,
    Refused,
    RequestVerification,
    RoundStarted,
    SampleDisclosed,
    StartRound,
    Verification,
)
from qkde.bb84.pads import RoundPads
from qkde.bb84.ports import Channel, Clock, Detector, Keep, PadPool, Randomness
from qkde.bb84.reconciliation import Corrector
from qkde.bb84.report import Block, RoundReport
from qkde.bb84.sifting import SiftedBits, join, sift
from qkde.bb84.transcript import Transcript
from qkde.bb84.verification import seed_bytes, universal_hash


def run_bob(
    order: StartRound,
    channel: Channel,
    detector: Detector,
    randomness: Randomness,
    clock: Clock,
    pads: PadPool,
    keep: Keep,
) -> RoundReport:
    """One whole round. Never raises for what a peer, the link or an eavesdropper does: that is what the report tells.

    `keep(block)` is called before the last tag; the block may be used only when the report's outcome is `key`, and
    must be destroyed when it is `aborted`. Errors of `keep` itself propagate, after Alice was told.
    """
    return _Bob(order, channel, detector, randomness, clock, pads, keep).run()


class _Bob:
    def __init__(self, order, channel, detector, randomness, clock, pads, keep) -> None:
        self._order, self._parameters = order, order.parameters
        self._channel, self._detector, self._randomness = channel, detector, randomness
        self._pads, self._keep = RoundPads(pads, order.link), keep
        self._account = RoundAccount("bob", order, clock, self._pads)
        self._transcript = Transcript()

    def run(self) -> RoundReport:
        try:
            block_bits = self._round()
        except Bb84Error as error:
            self._tell_alice(error)
            return self._account.report(0, error.reason)
        except Exception:
            self._tell_alice(RoundFailed("Bob's side failed"))  # the reason may be private
            raise
        return self._account.report(block_bits, None)

    def _round(self) -> int:
        self._start()
        sifted = join([self._frame(number) for number in range(self._parameters.frame_count)])
        self._account.check_sifted()
        self._estimate(sifted)
        key = self._reconcile(sifted)
        self._verify(key)
        block = self._amplify(key)
        self._finish(block)
        return block.length_bits

    def _start(self) -> None:
        answer = self._ask(replace(self._order, pads=self._pads.open()), RoundStarted)
        self._expect(RoundStarted(self._order.block_id, answer.pads), answer)
        self._pads.agree(answer.pads)
        self._account.spend("start")

    def _frame(self, number: int) -> SiftedBits:
        self._expect(FramePrepared(number), self._ask(PrepareFrame(number), FramePrepared))
        pulses = self._parameters.pulses_per_frame
        bases = self._randomness.bases(pulses, self._parameters.key_basis_probability)
        clicks, outcomes = self._detector.measure(number, bases)
        clicks = np.asarray(clicks, bool)
        if len(clicks) != pulses or len(outcomes) != pulses:
            raise DeviceUnavailable(f"the detector gave {len(clicks)} results for {pulses} pulses")
        self._account.spend("transmission")
        clicked = np.flatnonzero(clicks)
        bits, bases = np.asarray(outcomes, np.uint8)[clicked], bases[clicked]
        answer = self._ask(AnnounceDetections(number, pack(clicks), pack(bases)), AnnounceMatches)
        if answer.frame != number:
            raise ProtocolViolation(f"Alice sifted frame {answer.frame} where frame {number} was announced")
        choices = unpack_choices(answer.intensities, len(bits), len(self._parameters.intensities))
        sifted = sift(bits, bases, unpack(answer.matches, len(bits)), choices)
        self._account.sift(len(bits), sifted)
        self._account.spend("sifting")
        return sifted

    def _estimate(self, sifted: SiftedBits) -> None:
        answer = self._ask(DiscloseSample(pack(sifted.sample)), SampleDisclosed)
        self._account.disclose(sifted, unpack(answer.bits, len(sifted.sample)))
        self._account.spend("estimation")
        self._account.check_sample()

    def _reconcile(self, sifted: SiftedBits) -> np.ndarray:
        qber = expected_error_rate(sum(self._account.counts.test_errors), self._account.sample_bits)
        variant = VARIANTS[self._parameters.reconciliation]
        corrector = Corrector(sifted.key, variant, self._ask, self._public_seed)
        try:
            corrected = corrector.run(qber)
        finally:
            self._account.disclosed_parities = corrector.disclosed_parities
            self._account.reconciliation_messages = corrector.message_count
            self._account.spend("reconciliation")
        self._account.correct(self._account.by_intensity(sifted.key_choices[corrected != sifted.key]))
        return corrected

    def _verify(self, key: np.ndarray) -> None:
        bits = self._account.verification_bits = self._parameters.verification_bits
        answer = self._ask(RequestVerification(self._account.counts.key_errors), Verification)
        if len(answer.seed) != seed_bytes(bits):
            raise MalformedMessage(f"a verification seed has {seed_bytes(bits)} bytes, not {len(answer.seed)}")
        same = compare_digest(answer.hash, universal_hash(pack(key), len(key), answer.seed, bits))
        self._account.spend("verification")
        if not same:
            raise RoundFailed("verification failed: the two ends still differ after reconciliation")

    def _amplify(self, key: np.ndarray) -> Block:
        length_bits, refill_bits = self._account.secret_bits(), self._account.refill_bits()
        answer = self._ask(Amplify(), Amplification)
        if (answer.length_bits, answer.refill_bits) != (length_bits, refill_bits):
            raise ProtocolViolation(
                f"Alice amplifies to {answer.length_bits} bits, {answer.refill_bits} of them for pads; "
                f"Bob's account gives {length_bits} and {refill_bits}"
            )
        seed = unpack(answer.seed, seed_bit_count(len(key), length_bits))
        secret = pack(toeplitz_hash(key, seed, length_bits))
        self._account.spend("amplification")
        order, kept = self._order, self._pads.set_apart(secret, refill_bits)
        return Block(order.block_id, order.link, order.owner, length_bits - refill_bits, kept)

    def _finish(self, block: Block) -> None:
        self._keep(block)
        digest = self._transcript.digest()
        content = self._transcript.content()
        self._account.finish(content, digest)
        tags = self._pads.tags(content)
        answer = self._ask(Finish(digest, tags.bob), Finished)
        self._account.transcripts_agree = compare_digest(answer.transcript_digest, digest)
        if not (self._account.transcripts_agree and compare_digest(answer.tag, tags.alice)):
            raise RoundFailed("authentication failed: Alice's tag does not fit Bob's transcript")
        self._pads.refill()
        self._account.spend("authentication")

    def _public_seed(self, byte_count: int) -> bytes:
        return pack(self._randomness.bits(8 * byte_count))

    def _ask(self, message: Message, expected: type | None = None) -> Message:
        answer = self._channel.ask(message)
        self._transcript.enter(message)
        if isinstance(answer, Refused):
            self._account.transcripts_agree = answer.transcript_digest == self._transcript.digest()
            raise _RefusedByAlice(f"Alice refused: {answer.reason}")
        self._transcript.enter(answer)  # also one that is not legal here: Alice may have sent another
        if expected and not isinstance(answer, expected):
            raise ProtocolViolation(f"{type(answer).__name__} came where {expected.__name__} was expected")
        return answer

    @staticmethod
    def _expect(expected: Message, answer: Message) -> None:
        if answer != expected:
            raise ProtocolViolation(f"{answer} came where {expected} was expected")

    def _tell_alice(self, error: Bb84Error) -> None:
        """So that she need not wait for her timeout. Best effort: the round is over here, whatever she says."""
        if isinstance(error, _RefusedByAlice | PeerUnreachable):
            return
        try:
            answer = self._channel.ask(AbortRound(error.reason, self._transcript.digest()))
        except Exception:
            return
        if isinstance(answer, AbortNoted) and self._account.transcripts_agree is None:
            self._account.transcripts_agree = answer.transcript_digest == self._transcript.digest()


class _RefusedByAlice(RoundFailed):
    """She has ended the round herself and need not be told."""
