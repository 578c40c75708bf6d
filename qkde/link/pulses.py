"""Pulses on their way, each in the state of one bit in one basis, with its number of photons."""

from __future__ import annotations

from typing import Any

import numpy as np

from qkde.link import aer, exact
from qkde.link.noise import UNDISTURBED, Disturbance
from qkde.link.physics import LinkPhysics
from qkde.link.tap import Bits, Counts, Indices, QuantumMemory, Tap


class PulseTrain:
    """`photon_numbers` (uint8) as Alice sent them and Eve left them; `bypassed`: who goes round the fibre (bool)."""

    def __init__(
        self,
        bits: Bits,
        bases: Bits,
        physics: LinkPhysics,
        nature: np.random.Generator,
        photon_numbers: Counts | None = None,
    ) -> None:
        self._bits, self._bases = bits.copy(), bases.copy()
        self._physics, self._nature = physics, nature
        self._angles = aer.ANGLES_DEGREES
        own_angle = getattr(physics.eve, "own_angle_degrees", None)
        if own_angle is not None:
            self._angles += (own_angle,)
        single = np.broadcast_to(np.uint8(1), bits.shape)
        self.photon_numbers = single if photon_numbers is None else photon_numbers.copy()
        self.bypassed: np.ndarray | None = None

    def tap(self) -> Tap:
        """Eve's hands on these pulses: they close over the train but do not show it."""
        return Tap(
            self.photon_numbers.copy() if self.photon_numbers.flags.writeable else self.photon_numbers,
            self._physics.fibre_transmittance,
            self._physics.detector_efficiency,
            measure=self._measure_and_resend,
            store=self._store,
            block=self._block,
            bypass=self._bypass,
        )

    def detect(self, where: Indices, measured_bases: Bits, disturbance: Disturbance) -> Bits:
        """The outcomes of measuring one photon for each element of `where`: ascending pulses, which may repeat."""
        return aer.measure(
            self._bits[where], self._bases[where], measured_bases, disturbance, self._nature, self._angles
        )

    def _measure_and_resend(self, where: Indices, bases: Bits) -> Bits:
        results = self.detect(where, bases, UNDISTURBED)
        self._bits[where], self._bases[where] = results, bases
        return results

    def _store(self, where: Indices, counts: Counts) -> QuantumMemory:
        self._own_numbers()[where] -= counts.astype(np.uint8)
        bits, bases, nature, angles = self._bits[where], self._bases[where], self._nature, self._angles

        def measure(positions: Indices, measured_bases: Bits) -> Bits:
            return aer.measure(bits[positions], bases[positions], measured_bases, UNDISTURBED, nature, angles)

        return QuantumMemory(where, measure)

    def _block(self, where: Indices) -> None:
        self._own_numbers()[where] = 0

    def _bypass(self, where: Indices) -> None:
        if self.bypassed is None:
            self.bypassed = np.zeros(self._bits.size, bool)
        self.bypassed[where] = True

    def _own_numbers(self) -> Counts:
        if not self.photon_numbers.flags.writeable:
            self.photon_numbers = self.photon_numbers.copy()
        return self.photon_numbers


class ExactPulseTrain(PulseTrain):
    """The same with every photon a qubit of one circuit; a photon that Eve measured goes on collapsed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._first = np.concatenate([[0], np.cumsum(self.photon_numbers, dtype=np.intp)])
        photons_of = np.repeat(np.arange(self._bits.size), self.photon_numbers)
        self._register = exact.Register(self._bits[photons_of], self._bases[photons_of], self._angles, self._nature)

    def detect(self, where: Indices, measured_bases: Bits, disturbance: Disturbance) -> Bits:
        if not where.size:
            return np.empty(0, np.uint8)
        _, first, counts = np.unique(where, return_index=True, return_counts=True)
        rank = np.arange(where.size) - np.repeat(first, counts)
        return self._register.measure(self._first[where] + rank, measured_bases, disturbance)

    def _measure_and_resend(self, where: Indices, bases: Bits) -> Bits:
        results = super()._measure_and_resend(where, bases)
        further = np.repeat(np.arange(where.size), self.photon_numbers[where] - 1)
        _, first, counts = np.unique(further, return_index=True, return_counts=True)
        rank = np.arange(further.size) - np.repeat(first, counts)
        self._register.prepare_anew(self._first[where[further]] + 1 + rank, results[further], bases[further])
        return results
