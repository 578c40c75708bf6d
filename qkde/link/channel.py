"""From Alice's preparation to Bob's clicks: Eve at Alice's door, then loss and noise, then Bob's measurement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qkde.link import exact
from qkde.link.detectors import read_out
from qkde.link.physics import LinkPhysics
from qkde.link.pulses import ExactPulseTrain, PulseTrain
from qkde.link.tap import Bits, Counts, Indices, Knowledge

# Bounds the memory of a run; the work is proportional above about 10^5 pulses.
CHUNK_PULSES = 1 << 20
MODES = ("grouped", "exact")


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
    bits: Bits,
    bases: Bits,
    measured_bases: Bits,
    physics: LinkPhysics,
    nature: np.random.Generator,
    photon_numbers: Counts | None = None,
    mode: str = "grouped",
) -> Transmission:
    """Sends pulses that carry `bits` in `bases` to a Bob who measures in `measured_bases`.

    Arrays have shape (n,), dtype uint8; they are not changed. Without `photon_numbers` every pulse is a single photon.
    All chance comes from `nature`. `mode`: `grouped`, or `exact` for the oracle of one circuit per 100 pulses.
    Raises qkde.link.aer.SimulationFailed.
    """
    fired = np.empty_like(bits)
    learnt = []
    train, chunk_pulses = (
        (PulseTrain, CHUNK_PULSES) if mode == "grouped" else (ExactPulseTrain, exact.MAX_PULSES_PER_CIRCUIT)
    )
    for start in range(0, bits.size, chunk_pulses):
        chunk = slice(start, start + chunk_pulses)
        sent = train(
            bits[chunk], bases[chunk], physics, nature, None if photon_numbers is None else photon_numbers[chunk]
        )
        knowledge = physics.eve.on(sent.tap(), nature)
        learnt.append(replace(knowledge, measured=(knowledge.measured + start).astype(np.uint32), start=start))
        # Loss does not depend on the state, so only what arrives needs a circuit.
        arrived = _survivors(sent, physics, nature)
        found = sent.detect(arrived, measured_bases[chunk][arrived], physics.disturbance)
        fired[chunk] = _fired(sent.photon_numbers.size, arrived, found)
    clicks, outcomes = read_out(fired, physics, nature)
    return Transmission(clicks, outcomes, tuple(learnt))


def _survivors(sent: PulseTrain, physics: LinkPhysics, nature: np.random.Generator) -> Indices:
    """The pulse of every photon that Bob's detectors will see, ascending.

    Pulses of random phase are diagonal in photon number, so that loss thins each one binomially.
    """
    numbers, transmittance = sent.photon_numbers, physics.transmittance
    if not numbers.flags.writeable and sent.bypassed is None:  # single photons, untouched: one draw is enough
        return np.flatnonzero(nature.random(numbers.size) < transmittance)
    lit = np.flatnonzero(numbers != 0)  # of bytes, not booleans, it would take five times as long
    through = transmittance
    if sent.bypassed is not None:
        through = np.where(sent.bypassed[lit], physics.detector_efficiency, transmittance)
    return np.repeat(lit, nature.binomial(numbers[lit], through))


def _fired(pulse_count: int, arrived: Indices, found: Bits) -> np.ndarray:
    """Which detectors the light fired, per pulse: bit 0 for outcome 0, bit 1 for outcome 1."""
    fired = np.zeros(pulse_count, np.uint8)
    if not (arrived[1:] == arrived[:-1]).any():  # one photon each
        fired[arrived] = found + 1
        return fired
    for outcome in (0, 1):
        fired[arrived[found == outcome]] |= 1 << outcome
    return fired
