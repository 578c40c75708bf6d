"""What becomes of a frame: who may do what when, and what is left afterwards."""

import threading
from uuid import UUID

import numpy as np
import pytest

from qkde.link import aer, quantum_link
from qkde.link.frames import MAX_PULSES, FrameConflict, FrameInvalid, FrameNotFound
from qkde.link.physics import ImpossiblePhysics, LinkPhysics
from qkde.link.quantum_link import FRAME_TTL_S, LinkFull, QuantumLink

ROUND = UUID(int=1)
OTHER_ROUND = UUID(int=2)
PULSES = 100


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def link(clock):
    return QuantumLink("a-b", LinkPhysics(), seed=1, clock=clock)


def packed(seed, strings, pulses=PULSES):
    bits = np.random.default_rng(seed).integers(0, 2, (strings, pulses), dtype=np.uint8)
    return b"".join(np.packbits(string).tobytes() for string in bits)


PREPARATION, OTHER_PREPARATION = packed(1, 2), packed(2, 2)
BASES, OTHER_BASES = packed(3, 1), packed(4, 1)


def frame_of(link, round_id=ROUND, number=0):
    return link._rounds[round_id].frames[number]


def measured(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    return link.measure(ROUND, 0, BASES)


def test_bob_gets_clicks_and_outcomes_of_what_alice_prepared(link):
    clicks, outcomes = (
        np.unpackbits(half, count=PULSES) for half in np.split(np.frombuffer(measured(link), np.uint8), 2)
    )
    bits, bases = (np.unpackbits(half, count=PULSES) for half in np.split(np.frombuffer(PREPARATION, np.uint8), 2))
    sifted = bases == np.unpackbits(np.frombuffer(BASES, np.uint8), count=PULSES)
    assert clicks.all() and 30 < sifted.sum() < 70
    assert np.array_equal(outcomes[sifted], bits[sifted])
    assert not np.array_equal(outcomes[~sifted], bits[~sifted])


def test_alice_may_repeat_a_preparation_until_it_is_measured(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    link.measure(ROUND, 0, BASES)
    with pytest.raises(FrameConflict, match="measured already"):
        link.prepare(ROUND, 0, PULSES, PREPARATION)


@pytest.mark.parametrize(
    ("pulses", "body"), [(PULSES, OTHER_PREPARATION), (PULSES - 1, PREPARATION)], ids=["other bits", "other length"]
)
def test_a_prepared_frame_cannot_be_prepared_otherwise(link, pulses, body):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    with pytest.raises(FrameConflict, match="prepared otherwise"):
        link.prepare(ROUND, 0, pulses, body)
    assert frame_of(link).preparation.tobytes() == PREPARATION


def test_the_same_bases_again_get_the_same_answer_and_are_measured_once(link):
    first = measured(link)
    assert link.measure(ROUND, 0, BASES) == first
    assert link.measured.frame_count == 1


def test_other_bases_get_no_second_measurement(link):
    measured(link)
    with pytest.raises(FrameConflict, match="measured once"):
        link.measure(ROUND, 0, OTHER_BASES)


def test_repeats_that_come_while_a_frame_is_being_measured_wait_for_its_answer(link, monkeypatch):
    running, go_on = threading.Event(), threading.Event()
    measure = aer.measure

    def slow(*arguments):
        running.set()
        assert go_on.wait(10)
        return measure(*arguments)

    monkeypatch.setattr(aer, "measure", slow)
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(link.measure(ROUND, 0, BASES))) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert running.wait(10)
    link.prepare(ROUND, 1, PULSES, PREPARATION)  # other frames need not wait
    go_on.set()
    for caller in callers:
        caller.join(10)
    assert len(answers) == 3 and len(set(answers)) == 1
    assert link.measured.frame_count == 1


def test_a_preparation_is_wiped_when_it_is_measured(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    preparation = frame_of(link).preparation
    link.measure(ROUND, 0, BASES)
    assert not preparation.any()


def test_an_answer_is_wiped_when_the_frame_is_closed(link):
    measured(link)
    frame = frame_of(link)
    arrays = [frame.answer, frame.measured_bases]
    assert all(array.any() for array in arrays)
    link.close(ROUND, 0)
    assert not any(array.any() for array in arrays)
    assert frame.preparation.size == frame.answer.size == frame.measured_bases.size == 0


def test_a_closed_frame_is_closed_for_good(link):
    measured(link)
    link.close(ROUND, 0)
    link.close(ROUND, 0)
    for again in (
        lambda: link.measure(ROUND, 0, BASES),
        lambda: link.prepare(ROUND, 0, PULSES, PREPARATION),
    ):
        with pytest.raises(FrameConflict, match="closed"):
            again()


def test_a_frame_that_was_not_measured_cannot_be_closed(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    with pytest.raises(FrameConflict, match="not measured"):
        link.close(ROUND, 0)
    link.measure(ROUND, 0, BASES)


def test_what_was_not_prepared_is_not_found(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    for call in (
        lambda: link.measure(OTHER_ROUND, 0, BASES),
        lambda: link.measure(ROUND, 1, BASES),
        lambda: link.close(ROUND, 1),
    ):
        with pytest.raises(FrameNotFound, match="was not prepared"):
            call()


def test_bodies_of_the_wrong_length_are_refused_with_the_length_expected(link):
    with pytest.raises(FrameInvalid, match="a preparation .* of 100 pulses has 26 bytes: 25 came"):
        link.prepare(ROUND, 0, PULSES, PREPARATION[1:])
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    with pytest.raises(FrameInvalid, match="a measurement .* of 100 pulses has 13 bytes: 14 came"):
        link.measure(ROUND, 0, BASES + b"\0")


@pytest.mark.parametrize("pulses", [0, -1, MAX_PULSES + 1])
def test_a_frame_has_one_to_two_to_the_24_pulses(link, pulses):
    with pytest.raises(FrameInvalid, match=f"pulses is {pulses}: expected 1 to 16777216"):
        link.prepare(ROUND, 0, pulses, b"")


def test_a_frame_nobody_measured_expires_and_is_wiped(link, clock):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    preparation = frame_of(link).preparation
    clock.now_s = FRAME_TTL_S - 1
    link.expire_frames()
    assert preparation.any()
    clock.now_s = FRAME_TTL_S
    link.expire_frames()
    assert not preparation.any()
    for call in (
        lambda: link.measure(ROUND, 0, BASES),
        lambda: link.prepare(ROUND, 0, PULSES, PREPARATION),
        lambda: link.close(ROUND, 0),
    ):
        with pytest.raises(FrameConflict, match="expired"):
            call()


def test_an_expired_frame_is_not_measured_even_where_nobody_wiped_it_before(link, clock):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    clock.now_s = FRAME_TTL_S
    with pytest.raises(FrameConflict, match="expired"):
        link.measure(ROUND, 0, BASES)


def test_a_measured_frame_whose_time_is_over_counts_as_closed(link, clock):
    measured(link)
    answer = frame_of(link).answer
    clock.now_s = FRAME_TTL_S
    link.close(ROUND, 0)
    assert not answer.any()


def test_a_frame_does_not_expire_in_the_middle_of_its_measurement(link, clock, monkeypatch):
    measure = aer.measure

    def slow(*arguments):
        clock.now_s = FRAME_TTL_S + 1
        link.expire_frames()
        return measure(*arguments)

    monkeypatch.setattr(aer, "measure", slow)
    assert len(measured(link)) == 26


def test_frames_expire_in_the_background_too(link, clock):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    clock.now_s = FRAME_TTL_S
    stop = threading.Event()
    expired = threading.Event()
    expire_frames = link.expire_frames
    link.expire_frames = lambda: (expire_frames(), expired.set())
    keeper = threading.Thread(target=link.keep_expiring, args=(stop, 0.001))
    keeper.start()
    assert expired.wait(10)
    stop.set()
    keeper.join(10)
    assert not keeper.is_alive() and not frame_of(link).is_open


def test_a_round_keeps_the_physics_of_its_first_frame(link):
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    link.change_physics(loss_db=200)
    link.prepare(ROUND, 1, PULSES, PREPARATION)
    link.prepare(OTHER_ROUND, 0, PULSES, PREPARATION)
    assert any(link.measure(ROUND, 1, BASES))
    assert not any(link.measure(OTHER_ROUND, 0, BASES))


def test_impossible_physics_change_nothing(link):
    with pytest.raises(ImpossiblePhysics):
        link.change_physics(loss_db=3, depolarizing=2)
    assert link.physics == LinkPhysics()


def test_a_full_link_takes_no_more_frames_until_some_are_finished(link, clock, monkeypatch):
    monkeypatch.setattr(quantum_link, "MAX_OPEN_FRAMES", 2)
    measured(link)
    link.prepare(ROUND, 1, PULSES, PREPARATION)
    with pytest.raises(LinkFull, match="2 frames are open"):
        link.prepare(OTHER_ROUND, 0, PULSES, PREPARATION)
    link.prepare(ROUND, 1, PULSES, PREPARATION)  # a repeat needs no room
    link.close(ROUND, 0)
    link.prepare(OTHER_ROUND, 0, PULSES, PREPARATION)
    clock.now_s = FRAME_TTL_S
    link.prepare(OTHER_ROUND, 1, PULSES, PREPARATION)


def test_the_pulses_held_are_limited_too(link, monkeypatch):
    monkeypatch.setattr(quantum_link, "MAX_OPEN_PULSES", 2 * PULSES)
    link.prepare(ROUND, 0, PULSES, PREPARATION)
    link.prepare(ROUND, 1, PULSES, PREPARATION)
    with pytest.raises(LinkFull):
        link.prepare(ROUND, 2, PULSES, PREPARATION)


def test_the_oldest_finished_rounds_are_forgotten_and_open_ones_never(link, monkeypatch):
    monkeypatch.setattr(quantum_link, "MAX_ROUNDS", 3)
    link.prepare(UUID(int=10), 0, PULSES, PREPARATION)
    for number in range(11, 16):
        link.prepare(UUID(int=number), 0, PULSES, PREPARATION)
        link.measure(UUID(int=number), 0, BASES)
        link.close(UUID(int=number), 0)
    assert [round_id.int for round_id in link._rounds] == [10, 14, 15]


def test_measured_pulses_are_counted_with_the_time_they_took(link, clock, monkeypatch):
    assert link.measured.pulses_per_second is None
    measure = aer.measure

    def half_a_second(*arguments):
        clock.now_s += 0.5
        return measure(*arguments)

    monkeypatch.setattr(aer, "measure", half_a_second)
    measured(link)
    link.prepare(ROUND, 1, 60, packed(5, 2, 60))
    link.measure(ROUND, 1, packed(6, 1, 60))
    assert (link.measured.frame_count, link.measured.pulse_count) == (2, 160)
    assert link.measured.pulses_per_second == 160


def test_a_measurement_that_failed_leaves_the_frame_prepared(link, monkeypatch):
    def broken(*_):
        raise aer.SimulationFailed("Aer did not run the pulses: no memory")

    with monkeypatch.context() as patch:
        patch.setattr(aer, "measure", broken)
        with pytest.raises(aer.SimulationFailed):
            measured(link)
    assert link.measured.frame_count == 0
    assert len(link.measure(ROUND, 0, BASES)) == 26


def noisy(seed):
    link = QuantumLink("a-b", LinkPhysics(depolarizing=1.0), seed=seed)
    link.prepare(ROUND, 1, PULSES, PREPARATION)
    return measured(link), link.measure(ROUND, 1, BASES)


def test_a_seeded_link_repeats_itself_frame_by_frame_and_another_frame_is_another_draw():
    assert noisy(seed=7) == noisy(seed=7)
    assert len(set(noisy(seed=7) + noisy(seed=8))) == 4


def test_a_link_without_a_seed_never_repeats_itself():
    assert noisy(seed=None) != noisy(seed=None)


def test_nothing_secret_shows_in_the_text_of_a_frame(link):
    measured(link)
    frame = frame_of(link)
    assert "array" not in repr(frame) and "bytes" not in repr(frame)
