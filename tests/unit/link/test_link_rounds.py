"""What the link remembers of each round for its operator: physics, sums, and what Eve got. Limits are three sigma."""

import json
import math
from uuid import UUID

import numpy as np
import pytest
from link_runs import within_3_sigma

from mutual_tls.app import CALLER
from mutual_tls.identity import Identity
from qkde.link import aer, quantum_link
from qkde.link.eve_record import EveRecord
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink, RoundNotFound
from qkde.link.tap import Knowledge
from qkde.link.web import ops_app, qkd_app

ALICE, BOB = Identity("qkde", "qkde-a"), Identity("qkde", "qkde-b")
OPERATOR, PROBE = Identity("operator", "op"), Identity("probe", "healthcheck")
ROUND, OTHER_ROUND = UUID(int=1), UUID(int=2)
PULSES = 20_000
RNG = np.random.default_rng(77)
BITS = RNG.integers(0, 2, PULSES, dtype=np.uint8)
BASES, BOBS_BASES = (RNG.random((2, PULSES)) < 0.3).astype(np.uint8)


class UnixClock:
    now_s = 1_800_000_000.0

    def __call__(self):
        return self.now_s


def link_with(unix_clock=UnixClock(), **physics):  # noqa: B008
    return QuantumLink("a-b", LinkPhysics().changed(**physics), seed=3, unix_clock=unix_clock)


def run(link, round_id=ROUND, frame=0, bits=BITS):
    """A frame from its preparation to its closure: where both ends have a key bit, and Bob's outcomes there."""
    link.prepare(round_id, frame, PULSES, np.packbits(bits).tobytes() + np.packbits(BASES).tobytes())
    answer = np.frombuffer(link.measure(round_id, frame, np.packbits(BOBS_BASES).tobytes()), np.uint8)
    link.close(round_id, frame)
    clicks, outcomes = (np.unpackbits(half, count=PULSES) for half in np.split(answer, 2))
    key = (clicks == 1) & (BASES == 0) & (BOBS_BASES == 0)
    return key, outcomes[key]


def operator(link, path, caller=OPERATOR):
    return ops_app(link).test_client().get(path, environ_overrides={CALLER: caller})


def test_a_record_tells_when_under_which_physics_and_how_much():
    link = link_with(loss_db=3, repetition_rate_hz=1e6)
    key, _ = run(link)
    run(link, frame=1)
    record = operator(link, f"/v1/rounds/{ROUND}").json
    truth = record.pop("ground_truth")
    assert within_3_sigma(record.pop("detected_pulses"), 2 * PULSES, 10**-0.3)
    assert record == {
        "link": "a-b",
        "round_id": str(ROUND),
        "began_at": "2027-01-15T08:00:00.000+00:00",
        "physics": {"loss_db": 3, "depolarizing": 0.0, "eve": "none", "repetition_rate_hz": 1e6},
        "frames": 2,
        "pulses": 2 * PULSES,
        "simulated_s": 0.04,
    }
    assert key.sum() < truth["key_bits"] < 2.2 * key.sum()


def test_without_eve_nothing_is_known_and_nothing_of_the_bits_is_told():
    shown = []
    for bits in (BITS, 1 - BITS, np.zeros(PULSES, np.uint8)):
        link = link_with(depolarizing=0.1)
        key, _ = run(link, bits=bits)
        shown.append(link.round(ROUND))
    assert shown[0] == shown[1] == shown[2]
    count = int(key.sum())
    assert shown[0].eve == EveRecord(count, 0, count // 2, 0.0, float(count))


def test_eve_is_known_to_know_what_she_measured_in_the_key_basis():
    link = link_with(eve="intercept-resend:1:z", depolarizing=0.1)
    key, _ = run(link)
    count = int(key.sum())
    assert link.round(ROUND).eve == EveRecord(count, count, count, float(count), 0.0)


def test_on_half_of_the_pulses_in_a_random_basis_she_has_a_quarter():
    link = link_with(eve="intercept-resend:0.5")
    count = int(run(link)[0].sum())
    eve = link.round(ROUND).eve
    assert within_3_sigma(eve.sure_bits, count, 0.25)
    assert eve.information_bits == eve.sure_bits == count - eve.collision_entropy_bits
    assert abs(eve.guessed_bits - eve.sure_bits - (count - eve.sure_bits) / 2) <= 1


def test_only_pulses_that_clicked_are_key_bits():
    link = link_with(loss_db=10, eve="intercept-resend:1")
    key, _ = run(link)
    assert link.round(ROUND).eve.key_bits == key.sum() < 0.15 * PULSES


def test_the_physics_of_a_round_are_those_of_its_first_frame_and_the_next_round_has_the_new_ones():
    link = link_with()
    run(link)
    link.change_physics(eve="intercept-resend:1", depolarizing=0.02)
    run(link, frame=1)
    run(link, OTHER_ROUND)
    newest, oldest = operator(link, "/v1/rounds").json
    assert (oldest["frames"], oldest["physics"]["eve"], oldest["ground_truth"]["information_bits"]) == (2, "none", 0)
    assert newest["physics"]["eve"] == "intercept-resend:1" and newest["physics"]["depolarizing"] == 0.02
    assert newest["ground_truth"]["information_bits"] > 1_000


def test_a_repeated_question_is_counted_once():
    link = link_with(eve="intercept-resend:1")
    body = np.packbits(BOBS_BASES).tobytes()
    link.prepare(ROUND, 0, PULSES, np.packbits(BITS).tobytes() + np.packbits(BASES).tobytes())
    assert link.round(ROUND).frame_count == 0
    assert link.measure(ROUND, 0, body) == link.measure(ROUND, 0, body)
    assert (link.round(ROUND).frame_count, link.round(ROUND).pulse_count) == (1, PULSES)


def test_a_measurement_that_failed_is_in_no_record(monkeypatch):
    def broken(*_):
        raise aer.SimulationFailed("no memory")

    link = link_with()
    with monkeypatch.context() as patch, pytest.raises(aer.SimulationFailed):
        patch.setattr(aer, "measure", broken)
        run(link)
    assert link.round(ROUND).frame_count == 0
    link.measure(ROUND, 0, np.packbits(BOBS_BASES).tobytes())
    assert link.round(ROUND).frame_count == 1


def test_rounds_are_listed_newest_first_and_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(quantum_link, "MAX_ROUNDS", 3)
    link = link_with()
    for number in range(1, 6):
        run(link, UUID(int=number))
    assert [record.round_id.int for record in link.rounds()] == [5, 4, 3]
    assert [UUID(record["round_id"]).int for record in operator(link, "/v1/rounds?count=2").json] == [5, 4]
    with pytest.raises(RoundNotFound):
        link.round(UUID(int=1))


def test_a_round_that_goes_on_is_not_forgotten_to_make_room_for_itself(monkeypatch):
    monkeypatch.setattr(quantum_link, "MAX_ROUNDS", 1)
    link = link_with(loss_db=1)
    run(link)
    link.change_physics(loss_db=2)
    run(link, frame=1)
    assert (link.round(ROUND).frame_count, link.round(ROUND).physics.loss_db) == (2, 1)


def test_a_round_that_is_not_known_is_404_in_words():
    reply = operator(link_with(), f"/v1/rounds/{ROUND}")
    assert (reply.status_code, reply.json["message"]) == (404, f"round {ROUND} is not known here")
    assert operator(link_with(), "/v1/rounds/1").status_code == 404
    assert operator(link_with(), "/v1/rounds").json == []


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "1.5", "1025", "9" * 30, "²"])
def test_a_count_that_is_none_is_refused_with_its_range(count):
    reply = operator(link_with(), f"/v1/rounds?count={count}")
    assert (reply.status_code, reply.json["message"]) == (400, "count in the query: expected a number from 1 to 1024")


@pytest.mark.parametrize("path", ["/v1/rounds", f"/v1/rounds/{ROUND}"])
def test_neither_end_of_the_link_nor_a_probe_gets_a_record(path):
    link = link_with(eve="intercept-resend:1")
    run(link)
    assert operator(link, path).status_code == 200
    for caller in (ALICE, BOB, PROBE):
        assert operator(link, path, caller).status_code == 401
    for caller in (ALICE, BOB):
        for method in ("GET", "POST", "PUT"):
            client = qkd_app(link, ALICE, BOB).test_client()
            assert client.open(path, method=method, environ_overrides={CALLER: caller}).status_code == 404


def test_a_record_is_sums_and_settings_alone():
    link = link_with(eve="intercept-resend:0.5")
    run(link)
    shown = json.dumps(operator(link, f"/v1/rounds/{ROUND}").json) + repr(link.round(ROUND))
    assert "array" not in shown and len(shown) < 2_000


@pytest.mark.parametrize("angle", [0.0, 10.0, 22.5, 45.0, 80.0])
def test_a_measurement_at_an_angle_is_worth_what_quantum_mechanics_says(angle):
    """Whatever the sign of the correlation, and to the round-off at 45°."""
    bits = np.zeros(100, np.uint8)
    found = Knowledge(np.arange(100), np.full(100, 2, np.uint8), bits, own_angle_degrees=angle)
    record = EveRecord()
    record.hear([found], bits, 0, (0.0, 45.0), np.arange(50))
    right = math.cos(math.radians(angle)) ** 2
    entropy = 0 if right == 1 else -right * math.log2(right) - (1 - right) * math.log2(1 - right)
    assert record.key_bits == 50
    assert record.information_bits == pytest.approx(50 * (1 - entropy), abs=1e-6)
    assert record.collision_entropy_bits == pytest.approx(-50 * math.log2(right**2 + (1 - right) ** 2), abs=1e-6)


def test_records_of_frames_add_up():
    assert EveRecord(1, 2, 3, 4.0, 5.0) + EveRecord(10, 20, 30, 40.0, 50.0) == EveRecord(11, 22, 33, 44.0, 55.0)
