"""The oracle beside `qkde.link.aer`: all photons of a frame in one circuit of n qubits, run once, as a whole.

Between Eve and Bob the state itself goes on (a matrix product state, saved and set again), so that here a measurement
collapses what Bob receives; nothing is grouped, and nothing is prepared anew that was not in the story.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from qkde.link import aer
from qkde.link.noise import Disturbance

# Longer frames are cut into circuits of this many pulses.
MAX_PULSES_PER_CIRCUIT = 100
MAX_PULSES = 100_000


class Register:
    """Photons in one register: photon k carries bits[k] in bases[k] (shape (n,), indices into `angles_degrees`)."""

    def __init__(
        self, bits: np.ndarray, bases: np.ndarray, angles_degrees: tuple[float, ...], nature: np.random.Generator
    ) -> None:
        self._angles = angles_degrees
        self._nature = nature
        self._size = bits.size
        self._state: Any = None
        self._next = self._circuit()
        for qubit in range(self._size):
            aer.prepare(self._next, qubit, int(bits[qubit]), angles_degrees[bases[qubit]])

    def measure(self, qubits: np.ndarray, bases: np.ndarray, disturbance: Disturbance) -> np.ndarray:
        """The outcomes (uint8) of measuring `qubits`, each at most once, after the disturbance; they collapse."""
        circuit = self._next
        for qubit, basis in zip(qubits.tolist(), bases.tolist(), strict=True):
            aer.disturb(circuit, qubit, disturbance)
            aer.turn(circuit, qubit, -self._angles[basis])
            circuit.measure(qubit, qubit)
            aer.turn(circuit, qubit, self._angles[basis])
        outcomes = self._run(circuit)[qubits]
        self._next = self._circuit()
        self._next.set_matrix_product_state(self._state)
        return outcomes

    def prepare_anew(self, qubits: np.ndarray, bits: np.ndarray, bases: np.ndarray) -> None:
        """Other photons in the place of these."""
        for qubit, bit, basis in zip(qubits.tolist(), bits.tolist(), bases.tolist(), strict=True):
            self._next.reset(qubit)
            aer.prepare(self._next, qubit, bit, self._angles[basis])

    def _circuit(self) -> QuantumCircuit:
        return QuantumCircuit(self._size, self._size)

    def _run(self, circuit: QuantumCircuit) -> np.ndarray:
        circuit.save_matrix_product_state()
        seed = int(self._nature.integers(1 << 62))
        with aer.one_run:
            result = _simulator().run(circuit, shots=1, memory=True, seed_simulator=seed).result()
        if not result.success:
            raise aer.SimulationFailed(f"Aer did not run the frame's circuit: {result.status}")
        self._state = result.data()["matrix_product_state"]
        return np.array([outcome == "1" for outcome in reversed(result.get_memory()[0])], np.uint8)


@lru_cache(maxsize=1)
def _simulator() -> AerSimulator:
    return AerSimulator(method="matrix_product_state")
