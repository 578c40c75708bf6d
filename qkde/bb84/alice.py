"""Alice answers: a table of legal steps. What is not in it is illegal, and ends the round.

Refusals are answers (`Refused`), not exceptions: whoever carries messages to her needs no map of errors. An exception
that does leave `handle` comes from a port (source, storage); the round stands where it stood, and the same message
may come again.
"""

from dataclasses import replace
from enum import Enum, auto
from hmac import compare_digest
from typing import Any

import numpy as np

from qkde.bb84.account import RoundAccount
from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.bits import pack, unpack
from qkde.bb84.cascade import ParityTeller
from qkde.bb84.errors import Bb84Error, ProtocolViolation, RoundFailed
from qkde.bb84.intensities import PulseIntensities, draw, pack_choices
from qkde.bb84.messages import (
    AbortNoted,
    AbortRound,
    Amplification,
    Amplify,
    AnnounceDetections,
    AnnounceMatches,
    AskParities,
    DiscloseSample,
    Finish,
    Finished,
    FramePrepared,
    Message,
    Parities,
    PrepareFrame,
    Refused,
    RequestVerification,
    RoundStarted,
    SampleDisclosed,
    StartPass,
    StartRound,
    Verification,
)
from qkde.bb84.pads import RoundPads
from qkde.bb84.ports import Clock, Keep, PadPool, QuantumSource, Randomness
from qkde.bb84.report import Block, RoundReport
from qkde.bb84.sifting import SiftedBits, join, sift
from qkde.bb84.transcript import Transcript
from qkde.bb84.verification import seed_bytes, universal_hash


class Stage(Enum):
    """What Alice waits for."""

    START = auto()
    PREPARATION = auto()  # of the next frame, or the sample when there is none
    DETECTIONS = auto()
    RECONCILIATION = auto()
    AMPLIFICATION = auto()
    FINISH = auto()
    OVER = auto()


class Alice:
    """Alice's end of one round on one link; it begins with the StartRound she is given.

    `report` is None until a round that began is over. `keep(block)` is called once Bob's tag is checked, her pool is
    refilled, and before her tag goes out.
    """

    def __init__(
        self,
        link: str,
        pads: PadPool,
        source: QuantumSource,
        randomness: Randomness,
        clock: Clock,
        keep: Keep,
    ) -> None:
        self.stage = Stage.START
        self.report: RoundReport | None = None
        self._link, self._source = link, source
        self._randomness, self._clock, self._keep = randomness, clock, keep
        self._transcript = Transcript()
        self._pads = RoundPads(pads, link)
        self._last: tuple[Message, Message] | None = None
        self._account: RoundAccount | None = None
        self._failure: str | None = None
        self._prepared: tuple[Any, ...] | None = None  # bits, bases, and the intensities of weak coherent pulses
        self._drawn_ahead: tuple[Any, ...] | None = None
        self._sifted: list[SiftedBits] = []
        self._key = np.zeros(0, np.uint8)
        self._teller: ParityTeller | None = None
        self._amplification: Amplification | None = None
        self._block: Block | None = None

    def handle(self, message: Message) -> Message:
        """Her answer. The last message, repeated, gets the same answer again and enters the transcript once."""
        if self._last and message == self._last[0]:
            return self._last[1]
        try:
            answer = self._step(message)
        except Bb84Error as error:
            self.abort(error.reason)
            self._transcript.enter(message)  # the digest tells Bob whether it is his question that she refuses
            answer = Refused(error.reason, self._transcript.digest())
        self._last = message, answer
        return answer

    def work_ahead(self) -> None:
        """Does what Bob's next messages will ask for, while he is busy himself; without it, it is done when they come.

        Raises RoundFailed for what fails then as well.
        """
        if self.stage is Stage.DETECTIONS and self._drawn_ahead is None:
            if len(self._sifted) + 1 < self._account.order.parameters.frame_count:
                self._drawn_ahead = self._draw_pulses()
        elif self.stage is Stage.FINISH:
            self._amplified()

    def abort(self, reason: str) -> None:
        """End the round from outside, for instance because no message came for too long. No effect once it is over."""
        if self.stage is Stage.OVER:
            return
        self.stage = Stage.OVER
        self._key, self._sifted, self._prepared, self._teller = np.zeros(0, np.uint8), [], None, None
        self._drawn_ahead = self._amplification = self._block = None
        self._pads.forget()
        if self._account:
            self.report = self._account.report(0, reason)

    def _step(self, message: Message) -> Message:
        if isinstance(message, AbortRound):
            return self._abort_round(message)
        if (self.stage, type(message)) not in _STEPS:
            ended = f": {self.report.abort_reason}" if self.report and self.report.abort_reason else ""
            raise ProtocolViolation(f"{type(message).__name__} is not legal in stage {self.stage.name.lower()}{ended}")
        step, next_stage, spent_on = _STEPS[self.stage, type(message)]
        answer = step(self, message)
        self.stage = next_stage
        self._account.spend(spent_on)
        if self.stage is Stage.OVER:
            self.report = self._account.report(self._block.length_bits, None)
            return answer
        self._transcript.enter(message, answer)
        if self._failure:
            self.abort(self._failure)
        return answer

    def _start_round(self, message: StartRound) -> RoundStarted:
        self._account = RoundAccount("alice", message, self._clock, self._pads)
        if message.link != self._link:
            raise ProtocolViolation(f"this is link {self._link}, not {message.link}")
        own = self._pads.open()
        self._pads.agree(message.pads)
        return RoundStarted(message.block_id, own)

    def _prepare_frame(self, message: PrepareFrame) -> FramePrepared:
        parameters, number = self._account.order.parameters, len(self._sifted)
        if message.frame != number or number >= parameters.frame_count:
            raise ProtocolViolation(f"frame {message.frame} is not next after {number} of {parameters.frame_count}")
        if self._prepared is None:  # drawn once: should the source fail, the repeated message sends the same frame
            self._prepared, self._drawn_ahead = self._drawn_ahead or self._draw_pulses(), None
        self._source.prepare(number, *self._prepared)
        return FramePrepared(number)

    def _draw_pulses(self) -> tuple[Any, ...]:
        parameters = self._account.order.parameters
        pulses = parameters.pulses_per_frame
        bases = self._randomness.bases(pulses, parameters.key_basis_probability)
        bits = self._randomness.bits(pulses)
        if not parameters.intensities:
            return bits, bases
        choices = draw(pulses, parameters.intensity_probabilities, self._randomness)
        return bits, bases, PulseIntensities(parameters.intensities, choices)

    def _announce_matches(self, message: AnnounceDetections) -> AnnounceMatches:
        number = len(self._sifted)
        if message.frame != number:
            raise ProtocolViolation(f"detections of frame {message.frame} came where frame {number} was prepared")
        bits, bases, *light = self._prepared
        clicked = np.flatnonzero(unpack(message.clicks, len(bits)).view(bool))  # of bytes it takes five times as long
        bits, bases = bits[clicked], bases[clicked]
        bob_bases = unpack(message.bases, len(bases))
        # An Eve who stores the photons and forges the mask needs Alice's bases before the photons are measured; the
        # quantum link says that they have been. One who knew the intensities would be seen in no decoy.
        if not self._source.close(number):
            raise ProtocolViolation(f"frame {number} has not been measured: its bases stay secret")
        matches = bases == bob_bases
        choices = light[0].choices[clicked] if light else np.zeros(len(bits), np.uint8)
        sifted = sift(bits, bases, matches, choices)
        self._sifted.append(sifted)
        self._prepared = None
        self._account.sift(len(bits), sifted)
        intensity_count = len(self._account.order.parameters.intensities)
        return AnnounceMatches(number, pack(matches), pack_choices(choices, intensity_count))

    def _disclose_sample(self, message: DiscloseSample) -> SampleDisclosed:
        if len(self._sifted) != self._account.order.parameters.frame_count:
            raise ProtocolViolation(f"only {len(self._sifted)} frames are sifted")
        self._account.check_sifted()
        sifted = join(self._sifted)
        self._account.disclose(sifted, unpack(message.bits, len(sifted.sample)))
        try:
            self._account.check_sample()
        except RoundFailed as error:
            self._failure = error.reason  # after this answer, from which Bob learns the same
        self._key, self._sifted = sifted.key, []
        self._teller = ParityTeller(self._key)
        return SampleDisclosed(pack(sifted.sample))

    def _start_pass(self, message: StartPass) -> Parities:
        return self._count_parities(self._teller.start_pass(message))

    def _ask_parities(self, message: AskParities) -> Parities:
        return self._count_parities(self._teller.ask_parities(message))

    def _count_parities(self, answer: Parities) -> Parities:
        self._account.disclosed_parities = self._teller.disclosed_parities
        self._account.reconciliation_messages = self._teller.message_count
        return answer

    def _verify(self, message: RequestVerification) -> Verification:
        self._account.correct(message.corrected_counts)
        bits = self._account.verification_bits = self._account.order.parameters.verification_bits
        # Drawn only now that Bob's string is fixed: the bound on the hash is over this choice.
        seed = pack(self._randomness.bits(8 * seed_bytes(bits)))
        return Verification(seed, universal_hash(pack(self._key), len(self._key), seed, bits))

    def _amplify(self, message: Amplify) -> Amplification:
        length_bits, refill_bits = self._account.secret_bits(), self._account.refill_bits()
        seed = self._randomness.bits(seed_bit_count(len(self._key), length_bits))
        self._teller, self._amplification = None, Amplification(length_bits, refill_bits, pack(seed))
        return self._amplification  # at once: both ends then multiply at the same time

    def _amplified(self) -> Block:
        if self._block is None:
            order, chosen = self._account.order, self._amplification
            seed = unpack(chosen.seed, seed_bit_count(len(self._key), chosen.length_bits))
            secret = pack(toeplitz_hash(self._key, seed, chosen.length_bits))
            kept = self._pads.set_apart(secret, chosen.refill_bits)
            self._block = Block(order.block_id, order.link, order.owner, chosen.length_bits - chosen.refill_bits, kept)
            self._key = np.zeros(0, np.uint8)
        return self._block

    def _finish(self, message: Finish) -> Finished:
        block, digest = self._amplified(), self._transcript.digest()
        self._account.transcripts_agree = compare_digest(message.transcript_digest, digest)
        # Where the digests differ no pad is spent; a forger who knows better has to pass the tag.
        content = self._transcript.content()
        self._account.finish(content, digest)
        if not (self._account.transcripts_agree and compare_digest(message.tag, self._pads.tags(content).bob)):
            raise RoundFailed("authentication failed: Bob's tag does not fit Alice's transcript")
        self._pads.refill()
        self._keep(block)
        return Finished(digest, self._pads.tags(content).alice)

    def _abort_round(self, message: AbortRound) -> AbortNoted:
        digest = self._transcript.digest()
        agree = compare_digest(message.transcript_digest, digest)
        if self._account:
            self._account.transcripts_agree = agree
        self.abort(f"Bob aborted: {message.reason}")
        if self.report and self.report.outcome == "aborted":
            self.report = replace(self.report, transcripts_agree=agree)
        return AbortNoted(digest)


# The protocol: in which stage which message is legal, the step it takes, the stage after it, and what its time is
# put down to. A missing row is the illegal message. AbortRound is legal always.
_STEPS = {
    (Stage.START, StartRound): (Alice._start_round, Stage.PREPARATION, "start"),
    (Stage.PREPARATION, PrepareFrame): (Alice._prepare_frame, Stage.DETECTIONS, "transmission"),
    (Stage.DETECTIONS, AnnounceDetections): (Alice._announce_matches, Stage.PREPARATION, "sifting"),
    (Stage.PREPARATION, DiscloseSample): (Alice._disclose_sample, Stage.RECONCILIATION, "estimation"),
    (Stage.RECONCILIATION, StartPass): (Alice._start_pass, Stage.RECONCILIATION, "reconciliation"),
    (Stage.RECONCILIATION, AskParities): (Alice._ask_parities, Stage.RECONCILIATION, "reconciliation"),
    (Stage.RECONCILIATION, RequestVerification): (Alice._verify, Stage.AMPLIFICATION, "verification"),
    (Stage.AMPLIFICATION, Amplify): (Alice._amplify, Stage.FINISH, "amplification"),
    (Stage.FINISH, Finish): (Alice._finish, Stage.OVER, "authentication"),
}
