"""Eve's guesses of a frame's key bits once the bases are announced, and how certain she may be of each.

Each key bit is, to her, Alice's with a probability that quantum mechanics gives: 1 where she measured in Alice's basis
or holds a stored photon, cos²(Δ) at an angle Δ between the polarisations of her basis and Alice's, 1/2 otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import cos, radians

import numpy as np

from qkde.link.tap import Bits, Indices, Knowledge

# Certainty, how many key bits she has with it, and how many of these she has right.
Guessed = tuple[float, int, int]


def guesses_of(
    knowledge: Iterable[Knowledge],
    bits: Bits,
    basis: int,
    angles_degrees: tuple[float, float],
    key_positions: Indices,
) -> Iterable[Guessed]:
    """See EveRecord.hear."""
    learnt = [part for part in knowledge if part.measured.size or _stored_count(part)]
    if not learnt:  # the usual case: it must cost next to nothing
        return [(0.5, key_positions.size, 0)]
    guesses, is_key = np.zeros(bits.size, np.uint8), np.zeros(bits.size, bool)
    is_key[key_positions] = True
    certainties = Certainties(bits.size)
    for part in learnt:
        _from_measurements(part, basis, angles_degrees, guesses, certainties)
        _from_memory(part, basis, is_key, guesses, certainties)
    return certainties.counts(is_key, (guesses == bits) & is_key)


class Certainties:
    """With which probability a guess is right, for each pulse. They are few: each is kept once."""

    def __init__(self, pulse_count: int) -> None:
        self._known = {0.5: 0}
        self._of_pulse = np.zeros(pulse_count, np.uint8)

    def put(self, where: Indices, certainty: float) -> None:
        self._of_pulse[where] = self._known.setdefault(certainty, len(self._known))

    def counts(self, *masks: np.ndarray) -> Iterator[Guessed]:
        """Each certainty with the pulses in each mask that have it."""
        found = [np.bincount(self._of_pulse[mask], minlength=len(self._known)).tolist() for mask in masks]
        return zip(self._known, *found, strict=True)


def _from_measurements(
    part: Knowledge, basis: int, angles: tuple[float, float], guesses: Bits, certainties: Certainties
) -> None:
    for code in np.unique(part.bases):
        here = part.bases == code
        where, angle = part.measured[here], part.own_angle_degrees if code == 2 else angles[code]
        # cos² of 45° is 1/2 but for the round-off.
        agrees = round(cos(radians(angle - angles[basis])) ** 2, 12)
        guesses[where] = part.results[here] if agrees >= 0.5 else 1 - part.results[here]
        certainties.put(where, max(agrees, 1 - agrees))


def _from_memory(part: Knowledge, basis: int, is_key: np.ndarray, guesses: Bits, certainties: Certainties) -> None:
    if not _stored_count(part):
        return
    held = part.memory.where + part.start
    wanted = np.flatnonzero(is_key[held])
    guesses[held[wanted]] = part.memory.measure(wanted, np.full(wanted.size, basis, np.uint8))
    certainties.put(held[wanted], 1.0)


def _stored_count(part: Knowledge) -> int:
    return 0 if part.memory is None else part.memory.where.size
