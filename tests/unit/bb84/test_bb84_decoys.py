"""Weak coherent pulses with decoys through the same two ends: who says which intensity when, and what it counts."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkde.bb84.alice import Alice
from qkde.bb84.bits import pack
from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.bb84.errors import InvalidParameter, MalformedMessage
from qkde.bb84.intensities import counts_of, draw, pack_choices, unpack_choices
from qkde.bb84.messages import (
    AnnounceDetections,
    AnnounceMatches,
    PrepareFrame,
    Refused,
    RequestVerification,
    StartRound,
)
from qkde.bb84.one_decoy import one_decoy_length
from qkde.bb84.pads import MemoryPads
from qkde.bb84.proofs import RoundCounts, proven_length
from qkde.bb84.provenance import check
from qkde.bb84.randomness import SeededRandomness
from qkde.bb84.two_decoy import two_decoy_length

from bb84_simulated_link import (
    BLOCK_ID,
    DECOYS,
    ONE_DECOY,
    PRE_SHARED_KEY,
    Round,
    SimulatedLink,
    Ticks,
    round_parameters,
)

AUTHENTICATION = "authentication failed"


def decoy_round(on_the_way=lambda message: message, **parameters):
    return Round(SimulatedLink(seed=4, depolarizing=0.02), seed=4, on_the_way=on_the_way, **{**DECOYS, **parameters})


@pytest.fixture(scope="module")
def two_decoys():
    return decoy_round()


def basis_counts(counts, basis):
    return BasisCounts(counts[f"{basis}_detected"], counts[f"{basis}_errors"])


def test_both_ends_come_to_the_same_key_counts_and_length(two_decoys):
    both = two_decoys
    assert both.bob.outcome == both.alice.outcome == "key", both.bob.abort_reason
    assert both.keys[0] == both.keys[1] != []
    assert both.alice.counts == both.bob.counts and both.alice.secret_bits == both.bob.secret_bits > 1_000
    assert [len(counts) for counts in both.bob.counts.values()] == [3] * 4
    assert both.bob.parameters["source"] == "weak-coherent"
    assert both.bob.parameters["proof"].startswith("two decoys, Lim et al. 2014")


def test_the_length_is_the_two_decoy_formulas_without_vacuum_clicks(two_decoys):
    """Eve is given A⊕B in the default accounting: of a click she made in place of an empty pulse that tells the bit."""
    report = two_decoys.bob
    length = two_decoy_length(
        basis_counts(report.counts, "key"), basis_counts(report.counts, "test"),
        Intensities(DECOYS["intensities"], DECOYS["intensity_probabilities"]),
        leak_bits=report.leak_alice, epsilon_secrecy=1e-4, correctness_bits=61,
    )  # fmt: skip
    assert report.secret_bits == int(length.length_bits - length.vacuum_events - 64) // 8 * 8
    assert report.phase_error_bound == length.phase_error_bound


def test_vacuum_clicks_make_key_only_where_bobs_parities_are_counted():
    noisy = RoundCounts((20_000, 10_000, 3_000), (5_000, 2_500, 700), (600, 500, 1_500), (150, 125, 350))
    alice, both = (proven_length(round_parameters(**DECOYS, leak_counted=who), noisy, 0) for who in ("alice", "both"))
    assert alice.vacuum_events == 0 < both.vacuum_events
    assert both.length_bits - alice.length_bits == pytest.approx(both.vacuum_events)


def test_with_one_decoy_the_key_bases_errors_are_announced_and_enter_the_length():
    both = decoy_round(**ONE_DECOY)
    report = both.bob
    assert report.outcome == "key" and report.parameters["proof"].startswith("one decoy"), report.abort_reason
    asked = next(message for message in both.channel.log if isinstance(message, RequestVerification))
    assert asked.corrected_counts == report.counts["key_errors"] and sum(asked.corrected_counts) > 0

    def length(key_errors):
        return one_decoy_length(
            BasisCounts(report.counts["key_detected"], key_errors), basis_counts(report.counts, "test"),
            Intensities(ONE_DECOY["intensities"], ONE_DECOY["intensity_probabilities"]),
            leak_bits=report.leak_alice, epsilon_secrecy=1e-4, correctness_bits=61,
        ).length_bits  # fmt: skip

    assert report.secret_bits == int(length(report.counts["key_errors"]) - 64) // 8 * 8
    assert length((0, 0)) > length(report.counts["key_errors"]) + 8
    assert both.keys[0] == both.keys[1] != []


def test_the_corrected_bits_are_counted_by_the_intensity_of_their_pulses(two_decoys):
    counts = two_decoys.bob.counts
    for basis in ("key", "test"):
        for errors, detected in zip(counts[f"{basis}_errors"], counts[f"{basis}_detected"], strict=True):
            assert abs(errors - 0.01 * detected) <= 3 * sqrt(0.01 * detected) + 1e-9


def test_one_intensity_without_decoys_gives_no_key():
    report = decoy_round(intensities=(0.5,), intensity_probabilities=(1.0,), pulses_per_frame=20_000).bob
    assert report.outcome == "aborted" and "without decoys nothing bounds" in report.abort_reason


def test_alice_tells_no_intensity_before_the_frame_is_closed():
    link = SimulatedLink()
    alice = Alice("a-b", MemoryPads(PRE_SHARED_KEY), link, SeededRandomness(1), Ticks(), lambda block: None)
    parameters = round_parameters(**{**DECOYS, "pulses_per_frame": 64})
    alice.handle(StartRound(BLOCK_ID, "a-b", "kme-a", parameters, MemoryPads(PRE_SHARED_KEY).state().offer))
    alice.handle(PrepareFrame(0))
    detections = AnnounceDetections(0, pack(np.ones(64, bool)), pack(np.zeros(64, bool)))
    answer = alice.handle(detections)
    assert isinstance(answer, Refused) and "frame 0 has not been measured" in answer.reason
    assert alice._prepared is None, "and she has forgotten them"


def test_alice_tells_the_intensities_of_the_detected_pulses_alone(two_decoys):
    detections, matches = (
        next(message for message in two_decoys.channel.log if isinstance(message, kind))
        for kind in (AnnounceDetections, AnnounceMatches)
    )
    clicks = np.unpackbits(np.frombuffer(detections.clicks, np.uint8))[: DECOYS["pulses_per_frame"]]
    sent = two_decoys.link.intensities[0]
    assert sent.means == DECOYS["intensities"]
    told = unpack_choices(matches.intensities, int(clicks.sum()), 3)
    assert told.tolist() == sent.choices[clicks == 1].tolist()


def test_the_same_intensities_are_sent_again_when_the_source_failed():
    class Shaky(SimulatedLink):
        sent = []

        def prepare(self, frame, bits, bases, intensities=None):
            self.sent.append(intensities.choices.copy())
            if len(self.sent) == 1:
                raise ConnectionError("reset")

    alice = Alice("a-b", MemoryPads(PRE_SHARED_KEY), Shaky(), SeededRandomness(1), Ticks(), lambda block: None)
    parameters = round_parameters(**{**DECOYS, "pulses_per_frame": 64})
    alice.handle(StartRound(BLOCK_ID, "a-b", "kme-a", parameters, MemoryPads(PRE_SHARED_KEY).state().offer))
    with pytest.raises(ConnectionError):
        alice.handle(PrepareFrame(0))
    alice.handle(PrepareFrame(0))
    assert Shaky.sent[0].tolist() == Shaky.sent[1].tolist() and len(set(Shaky.sent[0].tolist())) > 1


def another_intensity(message):
    """One pulse that was a signal becomes a decoy."""
    if not isinstance(message, AnnounceMatches):
        return message
    octets = bytearray(message.intensities)
    low, high = octets[0], octets[len(octets) // 2]
    place = next(bit for bit in range(8) if not (low | high) & 0x80 >> bit)
    octets[0] ^= 0x80 >> place
    return replace(message, intensities=bytes(octets))


def one_more_corrected(message):
    if not isinstance(message, RequestVerification):
        return message
    first, *others = message.corrected_counts
    return replace(message, corrected_counts=(first + 1, *others))


def too_few_intensities(message):
    return replace(message, intensities=b"") if isinstance(message, AnnounceMatches) else message


def more_corrected_than_there_are(message):
    known = isinstance(message, RequestVerification)
    return replace(message, corrected_counts=(2**31, 0, 0)) if known else message


@pytest.mark.parametrize(
    "alter", [another_intensity, one_more_corrected, too_few_intensities, more_corrected_than_there_are]
)
def test_an_altered_intensity_or_count_makes_authentication_fail(alter):
    both = decoy_round(on_the_way=alter)
    assert both.keys == ([], []) and both.alice_kept == []
    assert AUTHENTICATION in both.bob.abort_reason and both.alice.outcome == "aborted"


@given(
    seed=st.integers(0, 2**20), depolarizing=st.sampled_from([0.0, 0.02, 0.06, 0.12]),
    pulses=st.sampled_from([500, 20_000, 200_000]), chosen=st.sampled_from([DECOYS, ONE_DECOY]),
    leak_counted=st.sampled_from(["alice", "both"]),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_for_any_seed_length_and_error_rate_the_ends_are_equal_or_the_round_aborts(
    seed, depolarizing, pulses, chosen, leak_counted
):
    parameters = {**chosen, "pulses_per_frame": pulses, "leak_counted": leak_counted}
    both = Round(SimulatedLink(seed=seed, depolarizing=depolarizing), seed=seed, **parameters)
    alice, bob = both.keys
    assert alice == bob and both.alice.outcome == both.bob.outcome
    if bob:
        counts = RoundCounts(**both.bob.counts)
        leaked = both.bob.leak_both if leak_counted == "both" else both.bob.leak_alice
        assert both.bob.secret_bits <= proven_length(both.order.parameters, counts, leaked).length_bits
        assert check(both.bob.provenance) == []


@pytest.mark.parametrize("probabilities", [(1.0,), (0.3, 0.7), (0.5, 0.4, 0.1)])
def test_intensities_are_drawn_as_often_as_was_agreed(probabilities):
    counts = counts_of(draw(200_000, probabilities, SeededRandomness(2)), len(probabilities))
    for count, p in zip(counts, probabilities, strict=True):
        assert abs(count - 200_000 * p) <= 3 * sqrt(200_000 * p * (1 - p))


@pytest.mark.parametrize(("intensity_count", "octets"), [(0, 0), (1, 0), (2, 2), (3, 4)])
def test_intensities_survive_the_wire_and_single_photons_take_no_room(intensity_count, octets):
    choices = np.arange(13, dtype=np.uint8) % max(1, intensity_count)
    packed = pack_choices(choices, intensity_count)
    assert len(packed) == octets
    assert unpack_choices(packed, 13, intensity_count).tolist() == choices.tolist()


@pytest.mark.parametrize(
    ("octets", "count", "intensity_count"),
    [(b"\x80", 3, 3), (b"\x80\x80", 3, 3), (b"\x01\x00", 3, 3), (b"\x80", 3, 0), (b"", 3, 2)],
)
def test_what_is_no_list_of_intensities_is_malformed(octets, count, intensity_count):
    with pytest.raises(MalformedMessage):
        unpack_choices(octets, count, intensity_count)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intensities": (0.5, 0.1)}, "intensities must be up to 3, with a probability each, not 2 with 3"),
        ({"intensities": (0.0, 0.2, 0.1)}, "signal_intensity is 0: expected above 0, up to 10"),
        ({"intensities": (0.5, 0.6, 0.0)}, "expected each above the next"),
        ({"intensities": (0.5, 0.1, -0.1)}, "none below 0"),
        ({"intensities": (0.5, 0.1, float("nan"))}, "intensities must be floats"),
        ({"intensities": (0.5, 0.1, 0)}, "intensities must be floats"),
        ({"intensities": [0.5, 0.1, 0.0]}, "intensities must be floats"),
        ({"intensity_probabilities": (0.5, 0.4, 0.2)}, "expected a sum of 1"),
        ({"intensity_probabilities": (0.6, 0.4, 0.0)}, "expected above 0"),
    ],
)
def test_impossible_intensities_are_refused_by_name(changes, words):
    with pytest.raises(InvalidParameter, match=words):
        round_parameters(**{**DECOYS, **changes})
