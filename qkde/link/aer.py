"""Each pulse's own circuit, prepared, sent and measured on Qiskit Aer, in an order that makes it fast.

Pulses are in a product state, and the channel and the detection act on each alone, so the joint law of a frame is the
product of the pulses' laws: they may be run grouped by (bit, basis, measured basis), COPIES of one group at a time in
one register, and the outcomes put back where the pulses were.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.noise import depolarizing_error

# The cost of a shot falls with the copies in it until the 4^COPIES density matrix costs more: flat from 5 to 7.
COPIES = 5
_VALUE_OF_SHOT = {hex(value): value for value in range(1 << COPIES)}

# One run at a time: Aer uses every core itself, and the circuits are shared.
_one_run = Lock()


class SimulationFailed(Exception):
    """Aer did not run a circuit."""


def measure(
    bits: np.ndarray, bases: np.ndarray, measured_bases: np.ndarray, depolarizing: float, nature: np.random.Generator
) -> np.ndarray:
    """The outcomes of measuring pulses that carry `bits` in `bases`, each in its measured basis, after the channel.

    All arrays have shape (n,), dtype uint8, values 0 and 1 (bases: 0 is Z, 1 is X). `nature` gives Aer's seeds.
    Raises SimulationFailed.
    """
    outcomes = np.empty_like(bits)
    group_of_pulse = bits | bases << 1 | measured_bases << 2
    for group in range(8):
        where = np.flatnonzero(group_of_pulse == group)
        if where.size:
            circuit = pulse_circuit(group & 1, group >> 1 & 1, group >> 2, depolarizing)
            outcomes[where] = _run(circuit, where.size, nature)
    return outcomes


@lru_cache(maxsize=64)
def pulse_circuit(bit: int, basis: int, measured_basis: int, depolarizing: float) -> QuantumCircuit:
    """COPIES independent pulses: Alice's state, the channel, Bob's measurement.

    The channel's error is an instruction of the circuit itself: hung on gates through a NoiseModel it can vanish with
    the gates it hangs on. Qiskit's `depolarizing_error(p)` leaves I/2 with probability p: a QBER of p/2.
    """
    circuit = QuantumCircuit(COPIES, COPIES)
    for qubit in range(COPIES):
        if bit:
            circuit.x(qubit)
        if basis:
            circuit.h(qubit)
        if depolarizing:
            circuit.append(depolarizing_error(depolarizing, 1), [qubit])
        if measured_basis:
            circuit.h(qubit)
        circuit.measure(qubit, qubit)
    return circuit


@lru_cache(maxsize=1)
def _simulator() -> AerSimulator:
    # density_matrix folds the noise in once and then samples; the other methods draw a trajectory for every shot.
    return AerSimulator(method="density_matrix")


def _run(circuit: QuantumCircuit, pulse_count: int, nature: np.random.Generator) -> np.ndarray:
    """Outcomes of `pulse_count` pulses, shape (pulse_count,). Never transpiled: that can delete gates and noise."""
    seed = int(nature.integers(1 << 62))  # a fixed seed would repeat the same outcomes in every run
    with _one_run:
        result = _simulator().run(circuit, shots=-(-pulse_count // COPIES), memory=True, seed_simulator=seed).result()
    if not result.success:  # Aer reports what it cannot simulate here, not by an exception
        raise SimulationFailed(f"Aer did not run the pulses: {result.status}")
    memory = result.results[0].data.memory
    shots = np.fromiter(map(_VALUE_OF_SHOT.__getitem__, memory), np.uint8, len(memory))
    return np.unpackbits(shots[:, np.newaxis], axis=1, count=COPIES, bitorder="little").ravel()[:pulse_count]
