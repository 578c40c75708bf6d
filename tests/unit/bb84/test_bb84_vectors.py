"""The code against tests/vectors: what other implementations rely on does not change unnoticed."""

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from qkde.bb84.amplification import toeplitz_hash
from qkde.bb84.authentication import forgery_bound, tag
from qkde.bb84.bits import pack
from qkde.bb84.cascade import ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.errors import RoundFailed
from qkde.bb84.intensities import counts_of, pack_choices, unpack_choices
from qkde.bb84.messages import AnnounceDetections, AnnounceMatches, StartPass, decode, encode
from qkde.bb84.pads import MemoryPads, PadOffer, RoundPads, pre_shared_key
from qkde.bb84.parity_tree import half_frame_mask, shuffled_order
from qkde.bb84.provenance import check, record_digest
from qkde.bb84.reconciliation import Corrector
from qkde.bb84.sifting import sift
from qkde.bb84.transcript import Transcript
from qkde.bb84.verification import universal_hash

FOLDER = Path(__file__).parents[2] / "vectors"


def load(stage):
    return json.loads((FOLDER / f"{stage}.json").read_text())


def bits(text):
    return np.array(list(map(int, text)), np.uint8)


def unhex(text):
    return bytes.fromhex(text)


@pytest.mark.parametrize("case", load("sifting")["cases"], ids=lambda case: f"{len(case['clicks'])} pulses")
def test_sifting(case):
    clicks, bob_bases = bits(case["clicks"]) == 1, bits(case["bob_bases_of_clicks"])
    alice_bits, alice_bases = bits(case["alice_bits"])[clicks], bits(case["alice_bases"])[clicks]
    matches = alice_bases == bob_bases
    assert matches.tolist() == (bits(case["matches"]) == 1).tolist()
    count, choices = case["intensity_count"], np.array(case["intensities_of_clicks"], np.uint8)
    alice = sift(alice_bits, alice_bases, matches, choices)
    bob = sift(bits(case["bob_bits_of_clicks"]), bob_bases, matches, choices)
    for end, found in (("alice", alice), ("bob", bob)):
        assert found.key.tolist() == bits(case[f"{end}_key"]).tolist()
        assert found.sample.tolist() == bits(case[f"{end}_sample"]).tolist()
        assert list(counts_of(found.key_choices, count)) == case["key_detected"]
        assert list(counts_of(found.sample_choices, count)) == case["test_detected"]
    assert list(counts_of(bob.key_choices[bob.key != alice.key], count)) == case["key_errors"]
    assert list(counts_of(bob.sample_choices[bob.sample != alice.sample], count)) == case["test_errors"]
    assert encode(AnnounceDetections(0, pack(clicks), pack(bob_bases))) == unhex(case["announce_detections_hex"])
    announced = AnnounceMatches(0, pack(matches), pack_choices(choices, count))
    assert encode(announced) == unhex(case["announce_matches_hex"])
    assert unpack_choices(announced.intensities, len(matches), count).tolist() == choices.tolist()


@pytest.mark.parametrize("case", load("cascade")["orders"], ids=lambda case: f"{case['size']} bits")
def test_bit_orders_and_half_frames(case):
    seed = unhex(case["seed_hex"])
    assert shuffled_order(case["size"], seed).tolist() == case["order"]
    assert half_frame_mask(case["size"], seed).tolist() == bits(case["half_frame"]).tolist()


@pytest.mark.parametrize("run", load("cascade")["runs"], ids=lambda run: run["variant"])
def test_a_cascade_run(run):
    exchanges = [(decode(unhex(question)), decode(unhex(answer))) for question, answer in run["exchanges_hex"]]
    teller = ParityTeller(bits(run["alice"]))
    for question, answer in exchanges:
        assert (teller.start_pass if isinstance(question, StartPass) else teller.ask_parities)(question) == answer
    assert teller.disclosed_parities == run["disclosed_parities"]
    # Bob asks the same, given the same seeds.
    seeds = iter([question.seed for question, _ in exchanges if isinstance(question, StartPass)])
    script = iter(exchanges)

    def ask(message):
        question, answer = next(script)
        assert message == question
        return answer

    corrector = Corrector(bits(run["bob"]), VARIANTS[run["variant"]], ask, lambda count: next(seeds))
    corrected = corrector.run(run["expected_error_rate"])
    assert next(script, None) is None
    assert corrected.tolist() == bits(run["bob_corrected"]).tolist() == bits(run["alice"]).tolist()
    assert corrector.corrected_count == run["corrected_count"] > 0


@pytest.mark.parametrize("run", load("cascade")["runs"], ids=lambda run: run["variant"])
def test_the_parities_are_those_of_the_intervals_that_the_readme_defines(run):
    alice, passes = bits(run["alice"]), {}
    for question, answer in ((decode(unhex(q)), decode(unhex(a))) for q, a in run["exchanges_hex"]):
        if isinstance(question, StartPass):
            order = np.arange(len(alice)) if question.pass_index == 0 else shuffled_order(len(alice), question.seed)
            if question.half_frame:
                order = np.flatnonzero(half_frame_mask(len(alice), question.seed))
            height = 0
            while question.block_count << height < len(order):
                height += 1
            passes[question.pass_index] = alice[order], question.block_count << height
            nodes = [(2 * block + 1) << height for block in range(question.block_count)]
        else:
            nodes = np.frombuffer(question.nodes, "<u4").tolist()
        sequence, leaves = passes[question.pass_index]
        parities = []
        for node in nodes:
            count = node & -node
            first = (node - count) // 2
            begin, end = (leaf * len(sequence) // leaves for leaf in (first, first + count))
            parities.append(sum(sequence[begin:end].tolist()) % 2)
        assert pack(np.array(parities, np.uint8)) == answer.bits


@pytest.mark.parametrize("case", load("verification")["cases"], ids=lambda case: f"{case['t']}-{len(case['bits'])}")
def test_verification_hashes(case):
    key = bits(case["bits"])
    assert universal_hash(pack(key), len(key), unhex(case["seed_hex"]), case["t"]) == unhex(case["hash_hex"])


@pytest.mark.parametrize("case", load("toeplitz")["cases"], ids=lambda case: f"{len(case['key'])} bits")
def test_toeplitz_products(case):
    secret = bits(case["secret"])
    assert toeplitz_hash(bits(case["key"]), bits(case["seed"]), len(secret)).tolist() == secret.tolist()


@pytest.mark.parametrize("case", load("tags")["cases"], ids=lambda case: f"{len(case['transcript_hex']) // 2} bytes")
def test_tags(case):
    transcript = unhex(case["transcript_hex"])
    assert tag(unhex(case["secret_hex"]), transcript) == unhex(case["tag_hex"])
    assert forgery_bound(len(transcript)) == case["forgery_bound"]


def test_the_transcript_that_is_tagged():
    vectors, transcript = load("tags"), Transcript()
    transcript.enter(*(decode(unhex(message)) for message in vectors["messages_of_first_case_hex"]))
    assert transcript.content() == unhex(vectors["cases"][0]["transcript_hex"])


class Stocked(MemoryPads):
    """A pool from pad `first` to `end`."""

    def __init__(self, first, end):
        super().__init__(pre_shared_key(lambda count: bytes(8 + 64 * end)))
        if first:
            self.reserve(PadOffer(self.state().key_id, first - 1, end), 0.0)


@pytest.mark.parametrize("case", load("tags")["agreements"], ids=lambda case: f"pad {case['pad']}")
def test_the_pad_that_two_ends_agree_on(case):
    for own, other in ((case["bob"], case["alice"]), (case["alice"], case["bob"])):
        pool = Stocked(*own)
        account = RoundPads(pool, "a-b")
        assert (account.open().first, account.open().end) == tuple(own)
        if case["pad"] is None:
            with pytest.raises(RoundFailed, match="is empty"):
                account.agree(PadOffer(pool.state().key_id, *other))
        else:
            account.agree(PadOffer(pool.state().key_id, *other))
            account.tags(b"")
            assert pool.state().first == case["pad"] + 1


@pytest.mark.parametrize("record", load("provenance")["cases"], ids=lambda record: record["proof"]["name"][:12])
def test_provenance(record):
    assert check(record) == []
    assert record["lengths"]["block_bits"] > 10_000
    plain = copy.deepcopy(record)
    digest = plain["digests"].pop("record")
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert digest == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest() == record_digest(record)
