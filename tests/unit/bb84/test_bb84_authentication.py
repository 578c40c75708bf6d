"""Tags and pads: what a forger may know is everything but the pad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkde.bb84.authentication import SECRET_BYTES, TAG_BITS, TAG_BYTES, forgery_bound, tag
from qkde.bb84.errors import PeerUnreachable, RoundFailed
from qkde.bb84.messages import Finished, Refused
from qkde.bb84.pads import (
    PAD_BITS,
    PAD_BYTES,
    PRE_SHARED_PADS,
    MemoryPads,
    PadOffer,
    PadState,
    RoundPads,
    pre_shared_key,
)
from qkde.bb84.transcript import Transcript

from bb84_simulated_link import PRE_SHARED_KEY, Round, SimulatedLink, WireChannel

PRIME = 2**TAG_BITS - 1
SECRET = bytes(range(1, SECRET_BYTES + 1))


def written_down(secret, transcript):
    """The tag as its definition says, word by word."""
    content = b"\x01" + len(transcript).to_bytes(8, "big") + transcript
    bits = "".join(f"{byte:08b}" for byte in content)
    words = [int(bits[i : i + TAG_BITS - 1].ljust(TAG_BITS - 1, "0"), 2) for i in range(0, len(bits), TAG_BITS - 1)]
    point, mask = (int.from_bytes(part, "big") >> 1 for part in (secret[:TAG_BYTES], secret[TAG_BYTES:]))
    return (sum(word * pow(point, len(words) - i, PRIME) for i, word in enumerate(words)) + mask) % PRIME


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES), st.binary(max_size=200))
def test_the_tag_is_the_masked_polynomial_written_down(secret, transcript):
    assert int.from_bytes(tag(secret, transcript), "big") == written_down(secret, transcript)


def test_every_bit_of_the_transcript_and_its_length_change_the_tag():
    transcript = np.random.default_rng(1).bytes(120)
    tags = {tag(SECRET, transcript), tag(SECRET, transcript + b"\0"), tag(SECRET, transcript[:-1]), tag(SECRET, b"")}
    for place in range(8 * len(transcript)):
        altered = bytearray(transcript)
        altered[place // 8] ^= 0x80 >> place % 8
        tags.add(tag(SECRET, bytes(altered)))
    assert len(tags) == 8 * len(transcript) + 4


def test_point_and_mask_both_enter_the_tag():
    tags = {tag(bytes(SECRET_BYTES), b"all")}
    for place in (0, TAG_BYTES):
        secret = bytearray(SECRET_BYTES)
        secret[place] = 1
        tags.add(tag(bytes(secret), b"all"))
    assert len(tags) == 3


def test_the_forgery_bound_counts_the_words_that_are_tagged():
    assert forgery_bound(0) == 3 / 2**TAG_BITS  # nine bytes in front are one word
    assert forgery_bound(650_000) == pytest.approx((9 + 650_000) * 8 / 126 / 2**TAG_BITS, rel=1e-4)


def test_a_round_uses_one_pad_and_replaces_it_before_the_kme_gets_its_share():
    both = Round()
    for report, pool in ((both.alice, both.alice_pads), (both.bob, both.bob_pads)):
        assert report.authentication_bits == report.refill_bits == PAD_BITS
        assert report.pad_bits_left == PRE_SHARED_PADS * PAD_BITS
        assert report.secret_bits == report.block_bits + report.refill_bits
        assert pool.state().offer == PadOffer(PRE_SHARED_KEY[:8].hex(), 1, PRE_SHARED_PADS + 1)
        assert report.epsilon_authentication == pool.state().epsilon > 2 * forgery_bound(10_000)
    assert both.alice_pads.state() == both.bob_pads.state()


def test_the_two_directions_share_no_bit_of_a_pad():
    both = Round()
    finish, finished = both.channel.log[-2:]
    transcript, pad = Transcript(), PRE_SHARED_KEY[8 : 8 + PAD_BYTES]
    transcript.enter(*both.channel.log[:-2])
    assert finish.tag == tag(pad[:SECRET_BYTES], transcript.content())
    assert finished.tag == tag(pad[SECRET_BYTES:], transcript.content())


def test_new_pads_are_bits_of_the_block_that_its_kme_never_sees():
    refilled, bare = Round(seed=3), Round(seed=3, pads_kept=0)
    pads = refilled.bob_pads.state().pads[-PAD_BYTES:]
    assert pads + refilled.bob_kept[0].bits == bare.bob_kept[0].bits
    assert bare.bob.refill_bits == 0 and bare.bob.block_bits == bare.bob.secret_bits == refilled.bob.secret_bits
    assert bare.bob.pad_bits_left == (PRE_SHARED_PADS - 1) * PAD_BITS


def test_many_rounds_never_use_a_pad_twice_and_go_on_when_the_first_key_is_long_gone():
    used, pads = [], (MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY))
    for seed in range(PRE_SHARED_PADS + 5):
        before = pads[0].state()
        assert Round(seed=seed, pads=pads, pads_kept=4, pulses_per_frame=12_000).bob.outcome == "key"
        used.append(before.pads[:PAD_BYTES])
        assert pads[0].state() == pads[1].state()
    assert len(set(used)) == PRE_SHARED_PADS + 5
    assert pads[0].state().offer.end - pads[0].state().offer.first == 4
    assert pads[0].state().epsilon > (PRE_SHARED_PADS + 5) * 2 * forgery_bound(3_000)


@pytest.mark.parametrize("link", [SimulatedLink(eve_basis="random"), SimulatedLink(loss=1.0)])
def test_an_abort_before_the_tags_costs_no_pad(link):
    both = Round(link)
    assert both.bob.outcome == "aborted"
    assert both.bob.authentication_bits == both.alice.authentication_bits == both.bob.epsilon_authentication == 0
    assert both.alice_pads.state() == both.bob_pads.state() == PadState.of_key(PRE_SHARED_KEY)


def test_a_block_that_could_not_replace_its_own_pad_is_an_abort():
    pads = (MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY))
    account = RoundPads(pads[0], "a-b")
    account.agree(account.open())
    with pytest.raises(RoundFailed, match="512 do not replace the 512 of its pad"):
        account.plan_refill(512, PRE_SHARED_PADS)
    assert account.plan_refill(520, PRE_SHARED_PADS) == 512
    assert account.plan_refill(10**6, 3 * PRE_SHARED_PADS) == (2 * PRE_SHARED_PADS + 1) * PAD_BITS
    assert account.plan_refill(8, 0) == 0


def test_an_empty_pool_stops_the_round_before_it_begins_and_says_what_to_do():
    pads = (MemoryPads(PRE_SHARED_KEY[: 8 + PAD_BYTES]), MemoryPads(PRE_SHARED_KEY[: 8 + PAD_BYTES]))
    assert Round(pads=pads, pads_kept=0).bob.outcome == "key"
    both = Round(SimulatedLink(), pads=pads)
    assert "the pad pool of link a-b is empty: pad 1 is next" in both.bob.abort_reason
    assert "run `qkd-lab link rekey a-b`" in both.bob.abort_reason and both.alice.abort_reason in both.bob.abort_reason
    assert both.link.prepared == {} and both.keys == ([], [])
    assert both.bob.pad_bits_left == both.alice.pad_bits_left == 0
    assert both.bob.transcripts_agree and "authentication failed" not in both.bob.abort_reason, "nobody meddled"


def test_ends_with_different_pre_shared_keys_do_not_start_a_round():
    other = pre_shared_key(np.random.default_rng(5).bytes)
    both = Round(SimulatedLink(), pads=(MemoryPads(PRE_SHARED_KEY), MemoryPads(other)))
    assert "have different pre-shared keys" in both.bob.abort_reason and both.link.prepared == {}


def test_equal_names_but_other_pads_fail_authentication():
    forged = PRE_SHARED_KEY[:8] + pre_shared_key(np.random.default_rng(5).bytes)[8:]
    both = Round(pads=(MemoryPads(PRE_SHARED_KEY), MemoryPads(forged)))
    assert "Bob's tag does not fit" in both.alice.abort_reason and both.keys == ([], [])
    assert both.alice.authentication_bits == both.bob.authentication_bits == PAD_BITS, "a tag that was tried is spent"


@pytest.mark.parametrize("restored", [0, 1])
def test_an_end_restored_from_a_backup_jumps_over_the_pads_it_has_used(restored):
    pads = [MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY)]
    for seed in range(3):
        Round(seed=seed, pads=tuple(pads))
    pads[restored] = MemoryPads(PRE_SHARED_KEY)
    both = Round(seed=9, pads=tuple(pads))
    assert both.bob.outcome == "key"
    assert pads[0].state().offer == pads[1].state().offer
    assert pads[0].state().offer.first == 4, "pads 0 to 2 were used, so that this round used 3"
    assert pads[0].state().pads == pads[1].state().pads


def test_pads_that_reached_one_end_only_are_replaced():
    class NoFinished(WireChannel):
        def ask(self, message):
            answer = super().ask(message)
            if isinstance(answer, Finished):
                raise PeerUnreachable("no answer from Alice in 30 s")
            return answer

    pads = (MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY))
    lost = Round(channel=NoFinished, pads=pads)
    assert lost.bob.outcome == "aborted" and lost.alice.outcome == "key"
    assert lost.bob.refill_bits == lost.bob.secret_bits == 0 and lost.alice.refill_bits == PAD_BITS
    assert pads[0].state().offer.end == pads[1].state().offer.end + 1
    both = Round(seed=2, pads=pads)
    assert both.bob.outcome == "key" and pads[0].state() == pads[1].state()


def test_a_pad_is_given_out_once_and_only_forwards():
    pool = MemoryPads(PRE_SHARED_KEY)
    key_id = PRE_SHARED_KEY[:8].hex()
    assert pool.reserve(PadOffer(key_id, 4, 9), 0.0) == PRE_SHARED_KEY[8 + 4 * PAD_BYTES : 8 + 5 * PAD_BYTES]
    for used in (4, 3, 0, PRE_SHARED_PADS):
        with pytest.raises(RoundFailed, match=f"pad {used} is used already, or not in the pool"):
            pool.reserve(PadOffer(key_id, used, 40), 0.0)
    with pytest.raises(RoundFailed):
        pool.reserve(PadOffer("another", 5, 9), 0.0)


def test_a_pad_reserved_meanwhile_ends_the_round():
    pads = (MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY))

    class Thief(WireChannel):
        def ask(self, message):
            answer = super().ask(message)
            if len(self.log) == 2:
                pads[0].reserve(pads[0].state().offer, 0.0)
            return answer

    both = Round(pads=pads, channel=Thief)
    assert "pad 0 is used already" in both.bob.abort_reason and both.keys == ([], [])
    assert isinstance(both.channel.log[-1], Refused)


def test_pads_and_tags_are_not_shown():
    both = Round()
    state = both.bob_pads.state()
    assert "pads=" not in repr(state) and str(state.pads[:8])[2:-1] not in repr(state)
