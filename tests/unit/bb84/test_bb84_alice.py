import numpy as np
import pytest

from qkde.bb84.alice import Alice
from qkde.bb84.bits import pack
from qkde.bb84.messages import (
    AbortNoted,
    AbortRound,
    Amplify,
    AnnounceDetections,
    AnnounceMatches,
    AskParities,
    DiscloseSample,
    Finish,
    FramePrepared,
    PrepareFrame,
    Refused,
    RequestVerification,
    RoundStarted,
    StartPass,
    StartRound,
)
from qkde.bb84.pads import MemoryPads
from qkde.bb84.randomness import SeededRandomness

from bb84_simulated_link import (
    BLOCK_ID,
    DECOYS,
    PRE_SHARED_KEY,
    Round,
    SimulatedLink,
    Ticks,
    WireChannel,
    round_parameters,
)

PULSES = 64
OFFER = MemoryPads(PRE_SHARED_KEY).state().offer
START = StartRound(BLOCK_ID, "a-b", "kme-a", round_parameters(pulses_per_frame=PULSES, frame_count=2), OFFER)
DETECTIONS = AnnounceDetections(0, pack(np.ones(PULSES, bool)), pack(np.zeros(PULSES, bool)))


def new_alice(link=None):
    source = link or SimulatedLink()
    return Alice("a-b", MemoryPads(PRE_SHARED_KEY), source, SeededRandomness(1), Ticks(), lambda block: None)


def test_sifting_before_the_frame_was_measured_is_refused():
    link = SimulatedLink()
    alice = new_alice(link)
    assert alice.handle(START) == RoundStarted(BLOCK_ID, OFFER)
    assert alice.handle(PrepareFrame(0)) == FramePrepared(0)
    answer = alice.handle(DETECTIONS)
    assert isinstance(answer, Refused) and "frame 0 has not been measured" in answer.reason
    assert alice.report.outcome == "aborted"
    link.measure(0, np.zeros(PULSES, np.uint8))
    assert isinstance(alice.handle(DETECTIONS), Refused), "the forged mask is not taken later either"


def test_sifting_after_the_frame_was_measured_is_answered():
    link = SimulatedLink()
    alice = new_alice(link)
    alice.handle(START)
    alice.handle(PrepareFrame(0))
    link.measure(0, np.zeros(PULSES, np.uint8))
    answer = alice.handle(DETECTIONS)
    assert answer == AnnounceMatches(0, pack(link.prepared[0][1] == 0))
    assert link.closed == {0}


@pytest.mark.parametrize(
    "message",
    [
        DETECTIONS, DiscloseSample(b""), StartPass(0, 1, False, bytes(16)), AskParities(0, bytes(4)),
        RequestVerification((0,)), Amplify(), Finish(b"", b""), PrepareFrame(0), RoundStarted(BLOCK_ID, OFFER),
    ],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
def test_nothing_but_an_order_starts_a_round(message):
    alice = new_alice()
    assert "is not legal in stage start" in alice.handle(message).reason
    assert isinstance(alice.handle(START), Refused)


@pytest.mark.parametrize("message", [StartRound(BLOCK_ID, "a-b", "kme-b", START.parameters), PrepareFrame(1),
                                     DiscloseSample(b""), DETECTIONS, Amplify(), Finish(b"", b"")],
                         ids=lambda message: type(message).__name__)  # fmt: skip
def test_a_message_out_of_order_ends_the_round(message):
    alice = new_alice()
    alice.handle(START)
    assert isinstance(alice.handle(message), Refused)
    assert alice.report.outcome == "aborted"
    answer = alice.handle(PrepareFrame(0))
    assert isinstance(answer, Refused) and alice.report.abort_reason in answer.reason


def test_an_order_for_another_link_is_refused():
    answer = new_alice().handle(StartRound(BLOCK_ID, "a-c", "kme-a", START.parameters))
    assert answer.reason == "this is link a-b, not a-c"


def test_a_repeated_message_gets_the_same_answer_and_prepares_nothing_anew():
    link = SimulatedLink()
    alice = new_alice(link)
    assert alice.handle(START) == alice.handle(START)
    alice.handle(PrepareFrame(0))
    link.measure(0, np.zeros(PULSES, np.uint8))
    bits = link.prepared.pop(0)[0]
    assert alice.handle(PrepareFrame(0)) == FramePrepared(0)
    assert not link.prepared
    first = alice.handle(DETECTIONS)
    assert alice.handle(DETECTIONS) == first
    assert len(bits) == PULSES


class StutteringChannel(WireChannel):
    """Every answer is lost once: each question is asked twice."""

    def ask(self, message):
        super().ask(message)
        return super().ask(message)


def test_a_round_in_which_everything_is_sent_twice_counts_once():
    once, twice = Round(seed=5, frame_count=2), Round(seed=5, frame_count=2, channel=StutteringChannel)
    assert len(twice.channel.log) == 2 * len(once.channel.log)
    assert twice.bob == once.bob and twice.alice == once.alice
    assert twice.bob.transcripts_agree
    assert twice.keys == once.keys and len(twice.alice_kept) == 1


def test_the_same_frame_is_sent_again_when_the_source_failed():
    class ShakyLink(SimulatedLink):
        failures = 1
        sent = []

        def prepare(self, frame, bits, bases):
            self.sent.append((bits.copy(), bases.copy()))
            if self.failures:
                self.failures -= 1
                raise ConnectionError("reset")
            super().prepare(frame, bits, bases)

    alice = new_alice(ShakyLink())
    alice.handle(START)
    with pytest.raises(ConnectionError):
        alice.handle(PrepareFrame(0))
    assert alice.handle(PrepareFrame(0)) == FramePrepared(0)
    (first_bits, first_bases), (bits, bases) = ShakyLink.sent
    assert np.array_equal(first_bits, bits) and np.array_equal(first_bases, bases)


def test_alice_keeps_nothing_when_her_storage_fails_and_can_be_asked_again():
    fails = [True]

    class Retrying(WireChannel):
        def ask(self, message):
            try:
                return super().ask(message)
            except OSError:
                return super().ask(message)

    def keep(block):
        if fails.pop() if fails else False:
            raise OSError("disk full")
        kept.append(block)

    kept = []
    original = Alice.__init__

    def with_shaky_storage(self, *arguments):
        original(self, *arguments[:-1], keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Alice, "__init__", with_shaky_storage)
        both = Round(channel=Retrying)
    assert both.bob.outcome == both.alice.outcome == "key"
    assert kept == both.bob_kept


def test_bobs_abort_is_noted_and_ends_the_round():
    alice = new_alice()
    alice.handle(START)
    answer = alice.handle(AbortRound("the detector is off", b"x"))
    assert isinstance(answer, AbortNoted)
    assert alice.report.outcome == "aborted" and "Bob aborted: the detector is off" in alice.report.abort_reason
    assert alice.report.transcripts_agree is False, "his digest is not hers"
    assert alice.report.abort_reason.startswith("authentication failed")
    assert alice.handle(AbortRound("the detector is off", b"x")) == answer


def test_an_abort_after_the_key_changes_nothing():
    both = Round()
    both.alice_end.abort("too late")
    both.alice_end.handle(AbortRound("too late", b""))
    assert both.alice_end.report == both.alice
    assert both.alice.outcome == "key"


def test_alice_forgets_her_bits_when_the_round_is_over():
    both = Round(SimulatedLink(eve_basis="random"))
    left = [value for value in vars(both.alice_end).values() if isinstance(value, np.ndarray) and value.size]
    assert left == []


class WithTimeAhead(WireChannel):
    """Lets Alice work ahead after each of her answers, as her host does while Bob is busy."""

    def ask(self, message):
        answer = super().ask(message)
        self._alice.work_ahead()
        return answer


def test_working_ahead_changes_nothing_that_is_said_or_kept():
    for parameters in ({"frame_count": 3}, DECOYS | {"frame_count": 2}):
        usual, ahead = (Round(seed=4, channel=channel, **parameters) for channel in (WireChannel, WithTimeAhead))
        assert usual.bob.outcome == ahead.bob.outcome == "key"
        assert usual.channel.log == ahead.channel.log
        assert usual.keys == ahead.keys and usual.bob_kept == ahead.alice_kept


def test_the_pulses_of_the_next_frame_are_drawn_ahead_and_of_no_frame_after_the_last(monkeypatch):
    drawn = []
    monkeypatch.setattr(Alice, "_draw_pulses", lambda self: drawn.append(1) or (np.zeros(PULSES, np.uint8),) * 2)
    link = SimulatedLink()
    alice = new_alice(link)
    for message in (START, PrepareFrame(0)):
        alice.handle(message)
    for _ in range(2):
        alice.work_ahead()
    assert len(drawn) == 2, "one frame ahead, once"
    link.measure(0, np.zeros(PULSES, np.uint8))
    for message in (DETECTIONS, PrepareFrame(1)):
        alice.handle(message)
        alice.work_ahead()
    assert len(drawn) == 2, "what was drawn ahead is what she sends; an order of two frames has no third"


def test_the_product_is_ready_before_bob_asks_for_the_end(monkeypatch):
    def not_now(*_):
        raise AssertionError("it was to be computed ahead")

    class NoneLeftToDo(WithTimeAhead):
        def ask(self, message):
            with monkeypatch.context() as patch:
                if isinstance(message, Finish):
                    patch.setattr("qkde.bb84.alice.toeplitz_hash", not_now)
                return super().ask(message)

    assert Round(channel=NoneLeftToDo).bob.outcome == "key"
