"""How fast a link is simulated, stage by stage, beside NumPy with the same physics and no circuits."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.cascade import ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.messages import Message, StartPass
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import OsRandomness
from qkde.bb84.reconciliation import Corrector
from qkde.link.channel import transmit
from qkde.link.physics import LinkPhysics
from qkde.simulation import frames_of, simulate

DEPOLARIZING = 0.06
BLOCK_PULSES, BLOCK_KEY_BASIS = 2_200_000, 0.89
CASCADE_BITS, TOEPLITZ_BITS = 1_000_000, (1_000_000, 500_000)


@dataclass(frozen=True)
class Figure:
    """One measured figure: the best of `repeats` runs. `beside`: the comparator's, or None."""

    what: str
    value: float
    unit: str
    beside: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def figures(pulses: int = 1_000_000, repeats: int = 3) -> Iterator[Figure]:
    """Every figure as soon as it is there. `pulses`: of the transmissions."""
    sent = [OsRandomness().bits(pulses) for _ in range(3)]
    attacks = {"none": "with noise", "intercept-resend:1": "with noise and Eve on all"}
    elapsed_s = {eve: _transmission(sent, eve, repeats) for eve in attacks}
    yield Figure("memory of this process, highest", _peak_mb(), "MB", note=f"Aer path, {pulses:,} pulses")
    for eve, what in attacks.items():
        yield _beside_numpy(sent, eve, what, elapsed_s[eve], repeats)
    for name in VARIANTS:
        for qber in (0.01, 0.02, 0.03, 0.05):
            yield _cascade(name, qber, repeats)
    yield _toeplitz(repeats)
    yield _block(repeats)


def numpy_transmission(
    bits: np.ndarray, bases: np.ndarray, measured: np.ndarray, attacked: bool, nature: np.random.Generator
) -> np.ndarray:
    """The comparator: outcomes by a random number instead of a circuit, depolarizing noise, intercept–resend."""

    def found(bits: np.ndarray, bases: np.ndarray, in_bases: np.ndarray) -> np.ndarray:
        return np.where(bases == in_bases, bits, nature.integers(0, 2, bits.size, dtype=np.uint8))

    if attacked:
        eve = nature.integers(0, 2, bits.size, dtype=np.uint8)
        bits, bases = found(bits, bases, eve), eve
    flipped = nature.random(bits.size) < DEPOLARIZING / 2
    return found(bits, bases, measured) ^ flipped


def _transmission(sent: list[np.ndarray], eve: str, repeats: int) -> float:
    physics = LinkPhysics(depolarizing=DEPOLARIZING).changed(eve=eve)
    return _best(lambda: transmit(*sent, physics, np.random.default_rng()), repeats)


def _beside_numpy(sent: list[np.ndarray], eve: str, what: str, elapsed_s: float, repeats: int) -> Figure:
    pulses = sent[0].size
    numpy_s = _best(lambda: numpy_transmission(*sent, eve != "none", np.random.default_rng()), repeats)
    share = f"{numpy_s / elapsed_s:.1%} of NumPy without circuits"
    return Figure(f"Aer path, {pulses:,} pulses {what}", pulses / elapsed_s, "pulses/s", pulses / numpy_s, share)


def _cascade(name: str, qber: float, repeats: int) -> Figure:
    runs = [_cascade_run(name, qber) for _ in range(repeats)]
    elapsed_s, efficiencies, message_counts = zip(*runs, strict=True)
    spread = f" ± {stdev(efficiencies):.4f}" if repeats > 1 else ""
    note = f"f {mean(efficiencies):.4f}{spread}, {mean(message_counts):.0f} messages"
    what = f"Cascade {name}, {CASCADE_BITS:,} bits at {qber:.0%}"
    return Figure(what, CASCADE_BITS / min(elapsed_s) / 1e6, "Mbit/s", note=note)


def _cascade_run(name: str, qber: float) -> tuple[float, float, int]:
    """Seconds, f at the errors that were there, and messages of one fresh frame; both ends in this process."""
    nature = np.random.default_rng()
    alice = nature.integers(0, 2, CASCADE_BITS, dtype=np.uint8)
    bob = alice ^ (nature.random(CASCADE_BITS) < qber)
    started = time.perf_counter()
    teller = ParityTeller(alice)

    def ask(message: Message) -> Message:
        return teller.start_pass(message) if isinstance(message, StartPass) else teller.ask_parities(message)

    corrector = Corrector(bob, VARIANTS[name], ask, os.urandom)
    corrected = corrector.run(qber)
    elapsed_s = time.perf_counter() - started
    if not np.array_equal(corrected, alice):
        raise AssertionError("Cascade left errors")
    least = CASCADE_BITS * binary_entropy(corrector.corrected_count / CASCADE_BITS)
    return elapsed_s, corrector.disclosed_parities / least, corrector.message_count


def _toeplitz(repeats: int) -> Figure:
    n, length = TOEPLITZ_BITS
    bits, seed = OsRandomness().bits(n), OsRandomness().bits(seed_bit_count(n, length))
    return Figure(f"Toeplitz {n:,} → {length:,} bits", _best(lambda: toeplitz_hash(bits, seed, length), repeats), "s")


def _block(repeats: int) -> Figure:
    per_frame, frame_count = frames_of(BLOCK_PULSES)
    parameters = RoundParameters(
        pulses_per_frame=per_frame, frame_count=frame_count, key_basis_probability=BLOCK_KEY_BASIS, qber_tolerance=0.035
    )
    reports = []
    elapsed_s = _best(
        lambda: reports.append(simulate(parameters, LinkPhysics(depolarizing=DEPOLARIZING)).report), repeats
    )
    secret_bits = reports[-1].secret_bits
    note = f"{secret_bits:,} secret bits in {elapsed_s:.2f} s, finite key, test QBER {reports[-1].qber_test:.4f}"
    what = f"whole block, {BLOCK_PULSES:,} pulses at QBER 3 %"
    return Figure(what, secret_bits / elapsed_s / 1e6, "Mbit/s", note=note)


def _best(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest run: on a shared machine the others measure the neighbours."""
    elapsed = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        elapsed.append(time.perf_counter() - started)
    return min(elapsed)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
