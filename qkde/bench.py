"""How fast a link is simulated, stage by stage, beside NumPy with the same physics and no circuits."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import OsRandomness
from qkde.frame_pair import ReconciledPair, reconcile_frame_pair
from qkde.link.channel import transmit
from qkde.link.physics import LinkPhysics
from qkde.simulation import simulate_round
from qkde.simulation_settings import frames_of

DEPOLARIZING = 0.06
BLOCK_PULSES, BLOCK_KEY_BASIS = 2_200_000, 0.89
CASCADE_BITS, TOEPLITZ_BITS = 1_000_000, (1_000_000, 500_000)
FRAME_BITS, FRAME_QBERS = 10_000, (0.01, 0.02, 0.05, 0.10)
ATTACKS = {"none": "with noise", "intercept-resend:1": "with noise and Eve on all"}


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


def figures(pulse_counts: Sequence[int] = (10**6, 10**7), frame_count: int = 0, repeats: int = 3) -> Iterator[Figure]:
    """Every figure as soon as it is there. `pulse_counts`: of the transmissions; `frame_count`: how many short frames
    Cascade has to correct, none wrong, for each variant and QBER.
    """
    for pulses in pulse_counts:
        sent = [OsRandomness().bits(pulses) for _ in range(3)]
        for eve, what in ATTACKS.items():
            yield _beside_numpy(sent, eve, what, _transmission(sent, eve, repeats), repeats)
        del sent
        for eve, what in ATTACKS.items():
            peak_mb = _in_a_process_of_its_own(_peak_mb_of_transmission, pulses, eve)
            yield Figure(f"peak memory, {pulses:,} pulses {what}", peak_mb, "MB", note="in a process of its own")
    for name in VARIANTS:
        for qber in (0.01, 0.02, 0.03, 0.05):
            yield _cascade(name, qber, repeats)
    for name in VARIANTS if frame_count else ():
        for qber in FRAME_QBERS:
            yield _short_frames(name, qber, frame_count)
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
    runs = [_cascade_run(name, CASCADE_BITS, qber) for _ in range(repeats)]
    if not all(run.is_right for run in runs):
        raise AssertionError("Cascade left errors")
    messages = mean(run.message_count for run in runs)
    what = f"Cascade {name}, {CASCADE_BITS:,} bits at {qber:.0%}"
    speed = CASCADE_BITS / min(run.elapsed_s for run in runs) / 1e6
    return Figure(what, speed, "Mbit/s", note=f"{_mean_efficiency(runs)}, {messages:.0f} messages")


def _short_frames(name: str, qber: float, frame_count: int) -> Figure:
    runs = [_cascade_run(name, FRAME_BITS, qber) for _ in range(frame_count)]
    what = f"Cascade {name}, {frame_count:,} frames of {FRAME_BITS:,} bits at {qber:.0%}"
    return Figure(what, sum(not run.is_right for run in runs), "wrong", note=_mean_efficiency(runs))


def _mean_efficiency(runs: list[ReconciledPair]) -> str:
    found = [run.efficiency for run in runs]
    return f"f {mean(found):.4f}" + (f" ± {stdev(found):.4f}" if len(found) > 1 else "")


def _cascade_run(name: str, bit_count: int, qber: float) -> ReconciledPair:
    return reconcile_frame_pair(name, bit_count, qber, np.random.default_rng(), os.urandom)


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
        lambda: reports.append(simulate_round(parameters, LinkPhysics(depolarizing=DEPOLARIZING)).report), repeats
    )
    secret_bits = reports[-1].secret_bits
    note = (
        f"{secret_bits:,} secret bits in {elapsed_s:.2f} s, finite key, key and test in separate bases, "
        f"p_Z {BLOCK_KEY_BASIS}, test QBER {reports[-1].qber_test:.4f}"
    )
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


def _in_a_process_of_its_own(function: Callable[..., float], *arguments: Any) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _peak_mb_of_transmission(pulses: int, eve: str) -> float:
    """In a fresh process: the most memory it ever had, with Python, Qiskit and the arrays of both ends."""
    _transmission([OsRandomness().bits(pulses) for _ in range(3)], eve, repeats=1)
    # Not getrusage: its maximum is inherited from whoever started the process.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e3
