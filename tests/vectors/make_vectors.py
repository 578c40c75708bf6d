"""Writes the golden vectors beside this file; see README.md there."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.authentication import SECRET_BYTES, forgery_bound, tag
from qkde.bb84.bits import pack
from qkde.bb84.cascade import SEED_BYTES, ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.intensities import counts_of, pack_choices
from qkde.bb84.messages import (
    AnnounceDetections,
    AnnounceMatches,
    FramePrepared,
    PrepareFrame,
    StartPass,
    StartRound,
    encode,
)
from qkde.bb84.pads import PadOffer, refill_of
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.parity_tree import half_frame_mask, shuffled_order
from qkde.bb84.proofs import RoundCounts, amplified_bits, leak_bits, proven_length
from qkde.bb84.provenance import record_of
from qkde.bb84.reconciliation import Corrector
from qkde.bb84.sifting import sift
from qkde.bb84.transcript import Transcript
from qkde.bb84.verification import VERIFICATION_BITS, seed_bytes, universal_hash

FOLDER = Path(__file__).parent


def text(bits):
    return "".join(map(str, np.asarray(bits, np.uint8).tolist()))


def random_bits(rng, count, one=0.5):
    return (rng.random(count) < one).astype(np.uint8)


def sifting():
    cases = []
    for seed, pulses in enumerate((8, 61, 200)):
        rng = np.random.default_rng(seed)
        clicks = random_bits(rng, pulses, 0.6)
        alice_bits, alice_bases = random_bits(rng, pulses), random_bits(rng, pulses, 0.3)
        bob_bases = random_bits(rng, pulses, 0.3)[clicks == 1]
        matches = alice_bases[clicks == 1] == bob_bases
        bob_bits = np.where(matches, alice_bits[clicks == 1], random_bits(rng, len(bob_bases)))
        bob_bits[0] ^= 1
        intensity_count = (0, 2, 3)[seed]
        choices = rng.integers(0, max(1, intensity_count), len(matches), dtype=np.uint8)
        alice = sift(alice_bits[clicks == 1], alice_bases[clicks == 1], matches, choices)
        bob = sift(bob_bits, bob_bases, matches, choices)
        cases.append({
            "alice_bits": text(alice_bits), "alice_bases": text(alice_bases), "clicks": text(clicks),
            "bob_bits_of_clicks": text(bob_bits), "bob_bases_of_clicks": text(bob_bases), "matches": text(matches),
            "alice_key": text(alice.key), "alice_sample": text(alice.sample),
            "bob_key": text(bob.key), "bob_sample": text(bob.sample),
            "intensity_count": intensity_count, "intensities_of_clicks": choices.tolist(),
            "key_detected": counts_of(alice.key_choices, intensity_count),
            "test_detected": counts_of(alice.sample_choices, intensity_count),
            "key_errors": counts_of(alice.key_choices[alice.key != bob.key], intensity_count),
            "test_errors": counts_of(alice.sample_choices[alice.sample != bob.sample], intensity_count),
            "announce_detections_hex": encode(AnnounceDetections(0, pack(clicks), pack(bob_bases))).hex(),
            "announce_matches_hex": encode(
                AnnounceMatches(0, pack(matches), pack_choices(choices, intensity_count))
            ).hex(),
        })  # fmt: skip
    return {"frame": 0, "cases": cases}


def cascade():
    rng = np.random.default_rng(10)
    seeds = [rng.bytes(SEED_BYTES) for _ in range(3)]
    orders = [
        {
            "size": size,
            "seed_hex": seed.hex(),
            "order": shuffled_order(size, seed).tolist(),
            "half_frame": text(half_frame_mask(size, seed)),
        }
        for size, seed in zip((1, 13, 40), seeds, strict=True)
    ]
    return {"orders": orders, "runs": [cascade_run(name, seed) for seed, name in enumerate(VARIANTS)]}


def cascade_run(variant, seed):
    rng = np.random.default_rng(20 + seed)
    alice, errors = random_bits(rng, 120), random_bits(rng, 120, 0.05)
    teller, exchanges = ParityTeller(alice), []

    def ask(question):
        answer = (teller.start_pass if isinstance(question, StartPass) else teller.ask_parities)(question)
        exchanges.append([encode(question).hex(), encode(answer).hex()])
        return answer

    corrector = Corrector(alice ^ errors, VARIANTS[variant], ask, rng.bytes)
    corrected = corrector.run(0.05)
    return {
        "variant": variant, "expected_error_rate": 0.05, "alice": text(alice), "bob": text(alice ^ errors),
        "exchanges_hex": exchanges, "bob_corrected": text(corrected), "corrected_count": corrector.corrected_count,
        "disclosed_parities": corrector.disclosed_parities,
    }  # fmt: skip


def verification():
    cases = []
    for t in VERIFICATION_BITS:
        for bit_count in (1, t - 1, t, 1000):
            rng = np.random.default_rng(1000 * t + bit_count)
            bits, seed = random_bits(rng, bit_count), rng.bytes(seed_bytes(t))
            hashed = universal_hash(pack(bits), bit_count, seed, t)
            cases.append({"t": t, "bits": text(bits), "seed_hex": seed.hex(), "hash_hex": hashed.hex()})
    return {"cases": cases}


def toeplitz():
    cases = []
    for key_bits, length in ((1, 1), (8, 8), (23, 11), (300, 128)):
        rng = np.random.default_rng(key_bits)
        key, seed = random_bits(rng, key_bits), random_bits(rng, seed_bit_count(key_bits, length))
        cases.append({"key": text(key), "seed": text(seed), "secret": text(toeplitz_hash(key, seed, length))})
    return {"cases": cases}


def tags():
    transcript = Transcript()
    transcript.enter(PrepareFrame(0), FramePrepared(0))
    rng = np.random.default_rng(30)
    cases = []
    for content in (transcript.content(), b"", bytes(16), rng.bytes(200)):
        secret = rng.bytes(SECRET_BYTES)
        cases.append({
            "secret_hex": secret.hex(), "transcript_hex": content.hex(), "tag_hex": tag(secret, content).hex(),
            "forgery_bound": forgery_bound(len(content)),
        })  # fmt: skip
    offers = [((0, 32), (0, 32)), ((3, 32), (7, 30)), ((5, 20), (30, 50))]
    agreements = [
        {"bob": list(bob), "alice": list(alice), "pad": pad}
        for (bob, alice), pad in zip(offers, (0, 7, None), strict=True)
    ]
    messages = [encode(message).hex() for message in (PrepareFrame(0), FramePrepared(0))]
    return {"messages_of_first_case_hex": messages, "cases": cases, "agreements": agreements}


def provenance():
    """Counts near those of 10^7 pulses through the parameter set `lab`, for each kind of source."""
    both = [(578_083, 5_712), (164_120, 1_638), (40, 19)], [(35_894, 360), (10_235, 116), (3, 1)]
    cases = []
    for means, probabilities, leak_counted in (
        ((), (), "alice"), ((0.6, 0.2), (0.5, 0.5), "alice"), ((0.6, 0.2, 0.0), (0.5, 0.4, 0.1), "both"),
        ((0.6, 0.2, 0.0), (0.5, 0.4, 0.1), "alice"),
    ):  # fmt: skip
        parameters = RoundParameters(
            frame_count=10, key_basis_probability=0.8, leak_counted=leak_counted, intensities=means,
            intensity_probabilities=probabilities,
        )  # fmt: skip
        key, test = ([counted for counted in basis[: max(1, len(means))]] for basis in both)
        counts = RoundCounts(*(tuple(one[i] for one in basis) for i in (0, 1) for basis in (key, test)))
        parities = round(1.18 * counts.key_bits * binary_entropy(0.01))
        leaks = leak_bits(parameters, parities, counts)
        length = amplified_bits(parameters, proven_length(parameters, counts, leaks[-1]))
        agreed = PadOffer("0011223344556677", 4, 35)
        round_ = SimpleNamespace(
            order=StartRound("00000000-0000-4000-8000-000000000001", "a-b", "kme-a", parameters), counts=counts,
            leaks=leaks, disclosed_parities=parities, verification_bits=parameters.verification_bits,
            detected_pulses=1_160_637, pads=SimpleNamespace(agreed=agreed, epsilon=1e-32),
            transcript_bytes=2_219_630, transcript_digest=bytes(range(32)),
        )  # fmt: skip
        cases.append(record_of(round_, length, refill_of(agreed, length, parameters.pads_kept)))
    return {"cases": cases}


def main():
    for stage in (sifting, cascade, verification, toeplitz, tags, provenance):
        (FOLDER / f"{stage.__name__}.json").write_text(json.dumps(stage(), indent=1) + "\n")


if __name__ == "__main__":
    main()
