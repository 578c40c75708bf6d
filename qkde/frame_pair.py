"""Cascade alone, between two strings that differ at a known rate: no link, no round."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qkde.bb84.cascade import ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.messages import Message, StartPass
from qkde.bb84.reconciliation import Corrector


@dataclass(frozen=True)
class ReconciledPair:
    """`efficiency`: f, disclosed parities over n·h(Q) with the errors that were there; None where there were none.

    `is_right`: nothing was left wrong. `message_count`: questions of Bob's, each with its answer.
    """

    elapsed_s: float
    efficiency: float | None
    disclosed_parities: int
    message_count: int
    is_right: bool


def reconcile_frame_pair(
    variant: str, bit_count: int, qber: float, nature: np.random.Generator, random_bytes: Callable[[int], bytes]
) -> ReconciledPair:
    """One fresh frame, both ends in this process; `qber` is what they take the error rate to be, too.

    `nature` draws bits and errors, `random_bytes` the public seeds of the passes.
    """
    alice = nature.integers(0, 2, bit_count, dtype=np.uint8)
    errors = (nature.random(bit_count) < qber).astype(np.uint8)
    started = time.perf_counter()
    teller = ParityTeller(alice)

    def ask(message: Message) -> Message:
        return teller.start_pass(message) if isinstance(message, StartPass) else teller.ask_parities(message)

    corrector = Corrector(alice ^ errors, VARIANTS[variant], ask, random_bytes)
    corrected = corrector.run(qber)
    elapsed_s = time.perf_counter() - started
    least = bit_count * binary_entropy(float(errors.mean()))
    return ReconciledPair(
        elapsed_s,
        corrector.disclosed_parities / least if least else None,
        corrector.disclosed_parities,
        corrector.message_count,
        np.array_equal(corrected, alice),
    )
