"""Somebody between the ends alters one message. No end may hold a key that the other does not, and it must show."""

from dataclasses import fields, replace
from functools import partial

import pytest

from qkde.bb84.messages import (
    MESSAGE_KINDS,
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

from bb84_simulated_link import BLOCK_ID, Round, SimulatedLink, WireChannel


class Tamperer:
    """Alters the `at`-th message of a kind."""

    def __init__(self, kind, alter, at=0):
        self.kind, self.alter, self.countdown, self.acted = kind, alter, at, False

    def __call__(self, message):
        if isinstance(message, self.kind):
            if self.countdown == 0:
                message = self.alter(message)
                self.acted = True
            self.countdown -= 1
        return message


def flip(name, byte=0, mask=0x80):
    def alter(message):
        data = bytearray(getattr(message, name))
        data[byte] ^= mask
        return replace(message, **{name: bytes(data)})

    return alter


def put(**changes):
    return lambda message: replace(message, **changes)


ANOTHER_ID = BLOCK_ID[:-1] + "8"
AUTHENTICATION = "authentication failed"
ALTERATIONS = [
    (StartRound, put(owner="kme-b"), AUTHENTICATION),
    (StartRound, put(block_id=ANOTHER_ID), "RoundStarted"),
    (StartRound, lambda message: replace(message, pads=replace(message.pads, first=5)), "of them for pads"),
    (RoundStarted, put(block_id=ANOTHER_ID), "RoundStarted"),
    (RoundStarted, lambda message: replace(message, pads=replace(message.pads, end=5)), "of them for pads"),
    (PrepareFrame, put(frame=1), "frame 1 is not next"),
    (FramePrepared, put(frame=1), "FramePrepared"),
    (AnnounceDetections, flip("bases"), ""),
    (AnnounceDetections, flip("clicks"), ""),
    (AnnounceDetections, put(frame=1), "detections of frame 1"),
    (AnnounceMatches, flip("matches"), ""),
    (AnnounceMatches, put(frame=1), "Alice sifted frame 1"),
    (DiscloseSample, flip("bits"), AUTHENTICATION),
    (SampleDisclosed, flip("bits"), AUTHENTICATION),
    (StartPass, put(seed=bytes(16)), AUTHENTICATION),  # the first pass does not shuffle
    (StartPass, put(block_count=3), ""),
    (AskParities, flip("nodes", mask=0x08), ""),
    (Parities, flip("bits"), ""),
    (RequestVerification, put(corrected_counts=(3,)), AUTHENTICATION),
    (Verification, flip("seed"), "verification failed"),
    (Verification, flip("hash", byte=-1, mask=1), "verification failed"),
    (Amplify, lambda message: PrepareFrame(0), "is not legal"),
    (Amplification, flip("seed"), AUTHENTICATION),
    (Amplification, put(length_bits=8), "Alice amplifies to 8 bits"),
    (Amplification, put(refill_bits=0), "0 of them for pads"),
    (Finish, flip("tag"), AUTHENTICATION),
    (Finish, flip("transcript_digest"), AUTHENTICATION),
    (Finished, flip("tag"), AUTHENTICATION),
    (Finished, flip("transcript_digest"), AUTHENTICATION),
]


@pytest.mark.parametrize(
    ("kind", "alter", "reason"), ALTERATIONS, ids=[f"{i}-{row[0].__name__}" for i, row in enumerate(ALTERATIONS)]
)
def test_an_altered_message_ends_the_round_without_a_key(kind, alter, reason):
    tamperer = Tamperer(kind, alter)
    both = Round(SimulatedLink(seed=1, depolarizing=0.03), on_the_way=tamperer)
    assert tamperer.acted
    assert both.bob.outcome == "aborted" and reason in both.bob.abort_reason
    assert AUTHENTICATION in both.bob.abort_reason, "it shows as what it is, not as a fault of the link"
    assert both.keys[1] == []
    if kind is not Finished:  # she had no reason to doubt; the KMEs confirm a block before they cut it
        assert both.keys[0] == [] and both.alice_kept == []
        assert both.alice.outcome == "aborted"


def test_every_kind_of_message_of_a_good_round_is_tampered_with():
    sent = {type(message) for message in Round(SimulatedLink(seed=1, depolarizing=0.03)).channel.log}
    assert sent == {kind for kind, _, _ in ALTERATIONS}
    assert set(MESSAGE_KINDS.values()) - sent == {AbortRound, AbortNoted, Refused}
    assert all(kind is Amplify or fields(kind) for kind in sent)


def test_a_parity_flipped_anywhere_fails_authentication_even_when_cascade_heals_it():
    healed_count = 0
    for at in range(0, 50, 3):  # this round has 50 messages with parities
        tamperer = Tamperer(Parities, flip("bits"), at)
        both = Round(SimulatedLink(seed=1, depolarizing=0.03), on_the_way=tamperer)
        assert tamperer.acted and both.keys == ([], [])
        assert both.bob.transcripts_agree is False
        assert AUTHENTICATION in both.bob.abort_reason and AUTHENTICATION in both.alice.abort_reason
        healed_count += any(isinstance(message, Finish) for message in both.channel.log)
    assert healed_count > 0


REACH_THE_TAGS = [row for row in ALTERATIONS if row[2] == AUTHENTICATION and row[0] not in (Finish, Finished)]


@pytest.mark.parametrize(
    ("kind", "alter", "_"), REACH_THE_TAGS, ids=[f"{i}-{row[0].__name__}" for i, row in enumerate(REACH_THE_TAGS)]
)
def test_who_forges_the_digest_as_well_is_found_out_by_the_tag(kind, alter, _):
    class Forger(WireChannel):
        def ask(self, message):
            if isinstance(message, Finish):
                message = replace(message, transcript_digest=self._alice._transcript.digest())
            return super().ask(message)

    both = Round(SimulatedLink(seed=1, depolarizing=0.03), on_the_way=Tamperer(kind, alter), channel=Forger)
    assert both.alice.abort_reason == "authentication failed: Bob's tag does not fit Alice's transcript"
    assert both.alice.transcripts_agree, "as far as the digest goes"
    assert AUTHENTICATION in both.bob.abort_reason and both.keys == ([], [])
    assert both.alice_pads.state().pads == both.bob_pads.state().pads, "the new pads came from a block that is no key"


class Intruder(WireChannel):
    """Sends Alice a message of its own, once, before Bob's first question of a kind."""

    def __init__(self, alice, on_the_way, before, make):
        super().__init__(alice, on_the_way)
        self.before, self.make, self.done = before, make, False

    def ask(self, message):
        if isinstance(message, self.before) and not self.done:
            self.done = True
            self._alice.handle(self.make(self.log))
        return super().ask(message)


QUESTIONS = (PrepareFrame, AnnounceDetections, DiscloseSample, StartPass, AskParities, RequestVerification, Amplify)


@pytest.mark.parametrize("kind", (StartRound, *QUESTIONS[:-1]), ids=lambda kind: kind.__name__)
def test_a_replayed_question_makes_authentication_fail(kind):
    def earlier(log):
        return next(message for message in log[:-2] if isinstance(message, kind))  # the last one again is a retry

    both = Round(SimulatedLink(seed=1, depolarizing=0.03), channel=partial(Intruder, before=Finish, make=earlier))
    assert both.channel.done and both.keys == ([], [])
    assert AUTHENTICATION in both.bob.abort_reason


@pytest.mark.parametrize("before", (*QUESTIONS, Finish), ids=lambda kind: kind.__name__)
def test_an_inserted_question_makes_authentication_fail(before):
    def inserted(_):
        return AskParities(0, (1).to_bytes(4, "little"))

    both = Round(SimulatedLink(seed=1, depolarizing=0.03), channel=partial(Intruder, before=before, make=inserted))
    assert both.channel.done and both.keys == ([], [])
    assert AUTHENTICATION in both.bob.abort_reason


@pytest.mark.parametrize("kind", (FramePrepared, AnnounceMatches, Parities), ids=lambda kind: kind.__name__)
def test_an_answer_given_in_another_ones_place_makes_authentication_fail(kind):
    class Replayer:
        """The second answer of the kind is the first one again."""

        first, done = None, False

        def __call__(self, message):
            if isinstance(message, kind) and not self.done:
                self.done = self.first is not None
                self.first = self.first or message
                return self.first
            return message

    replayer = Replayer()
    both = Round(SimulatedLink(seed=1, depolarizing=0.03), on_the_way=replayer, frame_count=2)
    assert replayer.done and both.keys == ([], [])
    assert AUTHENTICATION in both.bob.abort_reason


def test_questions_in_another_order_make_authentication_fail():
    class Swapper(WireChannel):
        """Keeps the first of two questions for parities back, and makes its answer up."""

        held, answered = None, None

        def ask(self, message):
            if isinstance(message, AskParities) and not self.held:
                self.held = message
                return Parities(bytes(-(-len(message.nodes) // 32)))
            if self.held and not self.answered:
                answer = super().ask(message)
                self.answered = super().ask(self.held)
                return answer
            return super().ask(message)

    both = Round(SimulatedLink(seed=1, depolarizing=0.03), channel=Swapper)
    assert both.channel.answered and both.keys == ([], [])
    assert AUTHENTICATION in both.bob.abort_reason


def test_a_forged_refusal_or_abort_ends_the_round_without_a_key():
    for kind, forged in ((Parities, Refused("no", b"")), (Finish, AbortRound("no", b""))):
        both = Round(SimulatedLink(seed=2, depolarizing=0.02), on_the_way=Tamperer(kind, lambda _, m=forged: m))
        assert both.keys == ([], [])
        assert both.bob.outcome == "aborted"


def test_a_forged_abort_reason_does_not_make_a_key():
    both = Round(SimulatedLink(seed=3, eve_basis="random"), on_the_way=Tamperer(AbortRound, put(reason="all is well")))
    assert both.keys == ([], [])
