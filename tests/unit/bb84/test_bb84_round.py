import json
from math import floor, log, log2, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkde.bb84.errors import DeviceUnavailable, PeerUnreachable

from bb84_simulated_link import Round, SimulatedLink, WireChannel


def entropy(p):
    return 1.0 if p >= 0.5 else -p * log2(p) - (1 - p) * log2(1 - p)


def allowed_bits(report):
    """The formula of Tomamichel and others once more, from nothing but the report."""
    chosen, k = report.parameters, report.sample_bits
    n = report.sifted_bits - k
    mu = sqrt((n + k) * (k + 1) / (n * k**2) * log(2 / chosen["epsilon_secrecy"]))
    leak = report.leak_both if chosen["leak_counted"] == "both" else report.leak_alice
    proven = n * (1 - entropy(chosen["qber_tolerance"] + mu)) - leak - chosen["verification_bits"]
    return floor(proven - log2(2 / chosen["epsilon_secrecy"] ** 2) - chosen["security_margin_bits"])


def test_a_clean_link_gives_both_ends_the_same_block():
    both = Round(SimulatedLink(seed=1, depolarizing=0.04))
    (alice_key,), (bob_key,) = both.keys
    assert alice_key == bob_key
    assert both.alice_kept == both.bob_kept
    block = both.bob_kept[0]
    assert (block.block_id, block.link, block.owner) == (both.order.block_id, "a-b", "kme-a")
    assert 8 * len(block.bits) == block.length_bits == both.bob.block_bits > 5000
    assert both.bob.secret_bits == both.bob.block_bits + both.bob.refill_bits
    assert both.bob.outcome == "key" and both.bob.abort_reason is None


def test_the_length_is_the_formulas_rounded_down_to_whole_bytes():
    for choice in ("alice", "both"):
        report = Round(SimulatedLink(seed=2, depolarizing=0.02), leak_counted=choice, pulses_per_frame=60_000).bob
        assert report.secret_bits == allowed_bits(report) // 8 * 8 > 0
        announced_bits = report.counts["key_detected"][0].bit_length()  # how many bits Bob corrected
        assert report.leak_both == 2 * report.leak_alice + announced_bits > announced_bits


def test_frames_add_up():
    report = Round(SimulatedLink(seed=3, depolarizing=0.02), pulses_per_frame=15_000, frame_count=3).bob
    assert report.outcome == "key"
    assert report.pulses == report.detected_pulses == 45_000
    assert report.secret_bits_per_pulse == report.secret_bits / 45_000


def test_loss_costs_pulses_not_agreement():
    both = Round(SimulatedLink(seed=4, depolarizing=0.02, loss=0.6), pulses_per_frame=100_000)
    assert both.keys[0] == both.keys[1] != []
    assert abs(both.bob.detected_pulses - 40_000) < 4 * (100_000 * 0.24) ** 0.5  # four sigma


def test_the_report_of_a_noisy_link_tells_the_noise():
    report = Round(SimulatedLink(seed=5, depolarizing=0.06), pulses_per_frame=100_000).bob
    key_bits = report.sifted_bits - report.sample_bits
    for rate, count in ((report.qber_test, report.sample_bits), (report.qber_key, key_bits)):
        assert abs(rate - 0.03) < 4 * (0.03 * 0.97 / count) ** 0.5  # four sigma
    low, high = report.qber_interval
    assert low < report.qber < high and high - low < 0.01
    assert 1 < report.reconciliation_efficiency < 1.3
    assert report.phase_error_bound > report.parameters["qber_tolerance"]
    assert report.disclosed_bits == report.sample_bits + report.leak_alice + report.parameters["verification_bits"]


def test_both_ends_report_the_same_but_for_time():
    both = Round(SimulatedLink(seed=6, depolarizing=0.03), frame_count=2)
    alice, bob = both.alice.to_json(), both.bob.to_json()
    assert (alice.pop("end"), bob.pop("end")) == ("alice", "bob")
    for report in (alice, bob):
        assert sum(report.pop("stages").values()) <= report.pop("elapsed_s")
    assert alice == bob


def test_a_report_is_json_and_shows_no_key():
    both = Round(SimulatedLink(seed=7))
    text = json.dumps(both.bob.to_json()) + repr(both.bob) + repr(both.bob_kept) + repr(both.channel.log)
    bits = both.bob_kept[0].bits
    assert bits.hex() not in text and str(bits) not in text and repr(bits[:8])[2:-1] not in text


def test_an_eve_on_every_pulse_is_told_with_her_qber():
    both = Round(SimulatedLink(seed=8, eve_basis="random"))
    assert both.keys == ([], []) and both.bob_kept == both.alice_kept == []
    assert both.bob.abort_reason == f"QBER {both.bob.qber_test:.3f} in the test basis is over the tolerance 0.05"
    assert both.alice.abort_reason == both.bob.abort_reason
    assert abs(both.bob.qber_test - 0.25) < 4 * (0.1875 / both.bob.sample_bits) ** 0.5  # four sigma
    assert both.bob.secret_bits == both.alice.secret_bits == 0


def test_an_eve_who_always_measures_in_the_key_basis_is_caught_by_the_test_basis():
    both = Round(SimulatedLink(seed=9, eve_basis=0), key_basis_probability=0.9, pulses_per_frame=100_000)
    assert both.keys == ([], [])
    assert "in the test basis is over the tolerance" in both.bob.abort_reason
    assert both.bob.qber_test > 0.4
    # Pooled over all sifted bits she would have stayed well under the tolerance:
    assert both.bob.qber_test * both.bob.sample_bits / both.bob.sifted_bits < 0.02


def test_an_eve_who_always_measures_in_the_test_basis_leaves_no_key():
    both = Round(SimulatedLink(seed=10, eve_basis=1))
    assert both.keys == ([], [])
    assert both.bob.qber_test < 0.05


def test_the_qber_of_nothing_sifted_is_undefined():
    both = Round(SimulatedLink(seed=11, loss=1.0))
    assert both.bob.qber is both.bob.qber_interval is both.bob.qber_test is both.bob.qber_key is None
    assert both.bob.abort_reason == "nothing was sifted from 0 detected pulses"
    assert both.alice.outcome == "aborted"


def test_too_few_pulses_are_an_abort_that_says_so():
    both = Round(SimulatedLink(seed=12), pulses_per_frame=2_000)
    assert both.bob.abort_reason.startswith("no secret bits are left: ")
    assert both.bob.reconciliation_messages == 0, "what can give no key is not reconciled"
    assert both.keys == ([], [])


def test_a_sample_without_key_bits_is_an_abort():
    for key_basis_probability, missing in ((0.999, "test"), (0.001, "key")):
        report = Round(pulses_per_frame=1, key_basis_probability=key_basis_probability).bob
        assert f"nothing was sifted in the {missing} basis" in report.abort_reason


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30_000),
    st.integers(1, 3),
    st.floats(0, 0.2),
    st.floats(0, 1),
    st.sampled_from(["original", "efficient"]),
)
def test_the_ends_are_equal_or_the_round_aborts(seed, pulses, frames, depolarizing, loss, variant):
    both = Round(
        SimulatedLink(seed, depolarizing, loss**3),
        seed,
        pulses_per_frame=pulses,
        frame_count=frames,
        reconciliation=variant,
        qber_tolerance=0.08,
    )
    assert both.keys[0] == both.keys[1]
    assert both.bob.outcome == both.alice.outcome
    if both.bob.outcome == "key":
        assert 0 < both.bob.secret_bits <= allowed_bits(both.bob)
    else:
        assert both.keys == ([], []) and both.bob.secret_bits == 0 and both.bob.abort_reason


class LossyChannel(WireChannel):
    """Goes silent after a number of questions."""

    answers = 0

    def ask(self, message):
        if len(self.log) >= 2 * self.answers:
            raise PeerUnreachable("no answer from Alice in 30 s")
        return super().ask(message)


@pytest.mark.parametrize("answers", [0, 1, 2, 3, 4, 5, 20])
def test_a_silent_peer_ends_the_round_with_a_report(answers):
    channel = type("Channel", (LossyChannel,), {"answers": answers})
    both = Round(channel=channel)
    assert both.bob.abort_reason == "no answer from Alice in 30 s"
    assert both.keys == ([], [])
    both.alice_end.abort("no message from Bob for 60 s")
    if answers:
        assert both.alice_end.report.abort_reason == "no message from Bob for 60 s"
    else:
        assert both.alice_end.report is None, "a round that never began has no report"


def test_a_lost_last_answer_leaves_bob_without_a_key():
    whole = Round()
    channel = type("Channel", (LossyChannel,), {"answers": len(whole.channel.log) // 2 - 1})
    both = Round(channel=channel)
    assert both.bob.outcome == "aborted"
    assert both.bob_kept, "the block was kept before the last tag, and is to be destroyed now"


def test_a_dead_detector_ends_the_round_at_both_ends():
    class DeadDetector(SimulatedLink):
        def measure(self, frame, bases):
            raise DeviceUnavailable("the quantum link does not answer")

    both = Round(DeadDetector())
    assert both.bob.abort_reason == "the quantum link does not answer"
    assert both.alice.abort_reason == "Bob aborted: the quantum link does not answer"
