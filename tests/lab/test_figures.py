"""Figures of the running lab and of its core, printed at the end of a test run."""

import json
import statistics
import time
import uuid

import numpy as np
import pytest

from mutual_tls.client import Peer
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from qkd_lab.embedded.memory import proportional_bytes
from qkde.bb84.cascade import ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.messages import StartPass
from qkde.bb84.reconciliation import Corrector
from qkde.link.client import LinkClient

from running_lab import eventually

PULSES = 1 << 20
FRAMES = 5


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_pulses_per_second_through_the_quantum_links_process(lab, figure):
    address = json.loads((lab.folder / ".lab" / "addresses.json").read_text())["qlink-a-b"]["qkd"]
    ends = [
        Peer(address, Identity("qlink", "qlink-a-b"), Credentials.in_folder(lab.identity(name)), timeout_s=60)
        for name in ("qkde-a", "qkde-b")
    ]
    rng = np.random.default_rng(1)
    bits, *bases = (rng.integers(0, 2, PULSES, dtype=np.uint8) for _ in range(3))
    speeds = []
    for _ in range(FRAMES):
        round_id = uuid.uuid4()
        alice, bob = (LinkClient(peer, round_id) for peer in ends)
        started = time.monotonic()
        alice.prepare(0, bits, bases[0])
        clicks, outcomes = bob.measure(0, bases[1])
        assert alice.close(0)
        speeds.append(PULSES / (time.monotonic() - started))
        same = (clicks == 1) & (bases[0] == bases[1])
        # depolarizing 0.02 gives 1 %; 10 sigma of about 400,000 sifted bits
        assert abs((bits[same] != outcomes[same]).mean() - 0.01) < 0.0016
    figure(f"quantum link: {statistics.median(speeds) / 1e6:.2f} million pulses/s through its process")


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_memory_of_the_whole_network(lab, figure):
    pid = json.loads((lab.folder / ".lab" / "state.json").read_text())["pid"]
    used = proportional_bytes([pid])
    assert used > 0
    figure(f"memory of all processes of the embedded lab: {used / 1e6:.0f} MB (PSS)")


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_secret_bits_per_second_through_all_processes_of_a_link(lab, figure):
    """While a round runs: two QKDEs and the link, every message over mutual TLS, 2^20 pulses at 1 %."""
    speeds: list[float] = []

    def measured() -> list[float]:
        lab.enc_keys("sae-a", "sae-b", "kme-a", number=128)
        with lab.as_operator() as operator:
            reports = operator.get(f"{lab.endpoint('qkde-b.ops')}/v1/reports").json()
        speeds[:] = [one["secret_bits"] / one["elapsed_s"] for one in reports if one["outcome"] == "key"]
        return speeds if len(speeds) >= 5 else []

    eventually(measured, "five rounds that gave a key")
    figure(f"secret key through the processes of one link: {statistics.median(speeds) / 1e6:.2f} Mbit/s in a round")


@pytest.mark.parametrize("bit_count", [10**5, 10**6])
def test_cascades_bits_per_second(bit_count, figure):
    rng = np.random.default_rng(2)
    alice = rng.integers(0, 2, bit_count, dtype=np.uint8)
    bob = alice ^ (rng.random(bit_count) < 0.02).astype(np.uint8)
    started = time.monotonic()
    teller = ParityTeller(alice)

    def ask(message):
        return teller.start_pass(message) if isinstance(message, StartPass) else teller.ask_parities(message)

    corrected = Corrector(bob, VARIANTS["original"], ask, rng.bytes).run(0.02)
    elapsed_s = time.monotonic() - started
    assert np.array_equal(corrected, alice)
    figure(f"Cascade, {bit_count:,} bits at 2 %: {bit_count / elapsed_s / 1e6:.1f} Mbit/s, both ends in one process")
