"""A NumPy quantum link and an in-process channel: what a whole round needs around it in a test."""

from uuid import UUID

import numpy as np

from qkde.bb84.alice import Alice
from qkde.bb84.bob import run_bob
from qkde.bb84.messages import Message, StartRound, decode, encode
from qkde.bb84.pads import MemoryPads, pre_shared_key
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import SeededRandomness
from qkde.bb84.report import Block, RoundReport

BLOCK_ID = str(UUID(int=7))
PRE_SHARED_KEY = pre_shared_key(np.random.default_rng(2024).bytes)


class SimulatedLink:
    """Photons through a depolarizing fibre with loss; `eve_basis`: 0 Z, 1 X, "random", None. Pulses with intensities
    click as one photon does, with a probability of 1 − e^(−mean·(1 − loss)).
    """

    def __init__(self, seed=1, depolarizing=0.0, loss=0.0, eve_basis=None):
        self._rng = np.random.default_rng(seed)
        self.depolarizing, self.loss, self.eve_basis = depolarizing, loss, eve_basis
        self.prepared, self.measured, self.closed, self.intensities = {}, set(), set(), {}

    def prepare(self, frame, bits, bases, intensities=None):
        self.prepared[frame], self.intensities[frame] = (bits.copy(), bases.copy()), intensities

    def measure(self, frame, bases):
        bits, sent_in = self.prepared[frame]
        count = len(bits)
        if self.eve_basis is not None:
            eve = self._rng.integers(0, 2, count) if self.eve_basis == "random" else np.full(count, self.eve_basis)
            bits, sent_in = self._measured(bits, sent_in, eve), eve
        outcomes = self._measured(bits, sent_in, bases)
        outcomes ^= (self._rng.random(count) < self.depolarizing / 2).astype(np.uint8)
        through, light = 1 - self.loss, self.intensities[frame]
        if light is not None:
            through = 1 - np.exp(-np.array(light.means)[light.choices] * through)
        clicks = self._rng.random(count) < through
        self.measured.add(frame)
        return clicks, outcomes * clicks

    def _measured(self, bits, sent_in, bases):
        return np.where(sent_in == bases, bits, self._rng.integers(0, 2, len(bits))).astype(np.uint8)

    def close(self, frame):
        self.closed.add(frame)
        return frame in self.measured


class WireChannel:
    """Carries every message as bytes. `on_the_way(message) -> message` may alter questions and answers."""

    def __init__(self, alice, on_the_way=lambda message: message):
        self._alice, self._on_the_way = alice, on_the_way
        self.log: list[Message] = []

    def ask(self, message):
        question = decode(encode(self._on_the_way(message)))
        answer = decode(encode(self._on_the_way(self._alice.handle(question))))
        self.log += [question, answer]
        return answer


class Ticks:
    """A clock that goes on by a second whenever someone looks at it."""

    def __init__(self):
        self._now_s = 0.0

    def __call__(self):
        self._now_s += 1.0
        return self._now_s


class Round:
    """One round, both ends; `alice` and `bob` are the reports, `alice_kept` and `bob_kept` the blocks."""

    def __init__(
        self, link=None, seed=1, on_the_way=lambda message: message, channel=WireChannel, pads=None, **parameters
    ):
        self.link = link or SimulatedLink(seed)
        self.alice_pads, self.bob_pads = pads or (MemoryPads(PRE_SHARED_KEY), MemoryPads(PRE_SHARED_KEY))
        self.alice_kept: list[Block] = []
        self.bob_kept: list[Block] = []
        self.order = StartRound(BLOCK_ID, "a-b", "kme-a", round_parameters(**parameters))
        self.alice_end = Alice(
            "a-b", self.alice_pads, self.link, SeededRandomness(seed), Ticks(), self.alice_kept.append
        )
        self.channel = channel(self.alice_end, on_the_way)
        self.bob: RoundReport = run_bob(
            self.order, self.channel, self.link, SeededRandomness(seed + 2**32), Ticks(), self.bob_pads,
            self.bob_kept.append,
        )  # fmt: skip
        self.alice: RoundReport | None = self.alice_end.report

    @property
    def keys(self) -> tuple[list[bytes], list[bytes]]:
        """What each end may hand on: what it kept, if its own report says key."""
        return tuple(
            [block.bits for block in kept] if report and report.outcome == "key" else []
            for kept, report in ((self.alice_kept, self.alice), (self.bob_kept, self.bob))
        )


DECOYS = {
    "pulses_per_frame": 400_000, "intensities": (0.6, 0.2, 0.0), "intensity_probabilities": (0.5, 0.4, 0.1),
    "epsilon_secrecy": 1e-4,
}  # fmt: skip
ONE_DECOY = DECOYS | {"intensities": (0.6, 0.2), "intensity_probabilities": (0.5, 0.5)}


def round_parameters(**changes) -> RoundParameters:
    """Small enough to be fast: with the default tolerances a key takes about 10^4 pulses."""
    return RoundParameters(
        **{
            "pulses_per_frame": 40_000,
            "key_basis_probability": 0.7,
            "qber_tolerance": 0.05,
            "epsilon_secrecy": 1e-6,
            "epsilon_correctness": 1e-9,
            "verification_bits": 61,
            **changes,
        }
    )
