"""From Alice's preparation to Bob's clicks: Eve at Alice's door, then loss and noise, then Bob's measurement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qkde.link import aer
from qkde.link.eve import Bits, Indices, Knowledge, Tap
from qkde.link.physics import LinkPhysics

# Bounds the memory of a run; the work is proportional above about 10^5 pulses.
CHUNK_PULSES = 1 << 20


@dataclass(frozen=True)
class Transmission:
    """What a transmission left behind, one element per pulse (uint8, 0 or 1); `outcomes` is 0 where nothing clicked.

    `knowledge` is Eve's, in order, its positions counted from the first pulse of all. It is ground truth, for the
    simulator's user alone: it must reach neither Alice nor Bob.
    """

    clicks: Bits = field(repr=False)
    outcomes: Bits = field(repr=False)
    knowledge: tuple[Knowledge, ...] = field(repr=False)


def transmit(
    bits: Bits, bases: Bits, measured_bases: Bits, physics: LinkPhysics, nature: np.random.Generator
) -> Transmission:
    """Sends single photons that carry `bits` in `bases` to a Bob who measures in `measured_bases`.

    Arrays have shape (n,), dtype uint8; they are not changed. All chance comes from `nature`.
    Raises qkde.link.aer.SimulationFailed.
    """
    clicks, outcomes = np.zeros_like(bits), np.zeros_like(bits)
    learnt = []
    for start in range(0, bits.size, CHUNK_PULSES):
        chunk = slice(start, start + CHUNK_PULSES)
        sent = PulseTrain(bits[chunk], bases[chunk], nature)
        knowledge = physics.eve.on(sent.tap(), nature)
        learnt.append(replace(knowledge, measured=(knowledge.measured + start).astype(np.uint32)))
        # Loss does not depend on the state, so only what arrives needs a circuit.
        arrived = np.flatnonzero(nature.random(sent.photon_numbers.size) < physics.transmittance)
        clicks[chunk][arrived] = 1
        outcomes[chunk][arrived] = sent.detect(arrived, measured_bases[chunk][arrived], physics.depolarizing)
    return Transmission(clicks, outcomes, tuple(learnt))


class PulseTrain:
    """Pulses on their way, each in the state of one bit in one basis."""

    def __init__(self, bits: Bits, bases: Bits, nature: np.random.Generator) -> None:
        self._bits = bits.copy()
        self._bases = bases.copy()
        self._nature = nature
        self.photon_numbers = np.broadcast_to(np.uint8(1), bits.shape)

    def tap(self) -> Tap:
        """Eve's hands on these pulses: they close over the train but do not show it."""

        def measure(where: Indices, bases: Bits) -> Bits:
            results = self.detect(where, bases, depolarizing=0.0)
            self._bits[where], self._bases[where] = results, bases
            return results

        return Tap(self.photon_numbers, measure)

    def detect(self, where: Indices, measured_bases: Bits, depolarizing: float) -> Bits:
        """The outcomes of measuring the pulses at `where`, after a depolarizing channel."""
        return aer.measure(self._bits[where], self._bases[where], measured_bases, depolarizing, self._nature)
