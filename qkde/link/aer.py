"""Each photon's own circuit, prepared, sent and measured on Qiskit Aer, in an order that makes it fast.

Photons are in a product state, and the channel, an individual attack and the detection act on each alone, so the joint
law of a frame is the product of the photons' laws: they may be run grouped by (bit, basis, measured basis), COPIES of
one group at a time in one register, and the outcomes put back where the photons were. `qkde.link.exact` is the oracle.
"""

from __future__ import annotations

import math
from functools import lru_cache
from threading import Lock

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction
from qiskit_aer import AerSimulator

from qkde.link.noise import UNDISTURBED, Disturbance, NoiseTerm

# Polarisation angles of the bases 0 (Z, rectilinear) and 1 (X, diagonal); on the Bloch sphere it is twice as much.
ANGLES_DEGREES = (0.0, 45.0)

# The cost of a shot falls with the copies in it until the 4^COPIES density matrix costs more: flat from 5 to 7.
COPIES = 5
_VALUE_OF_SHOT = {hex(value): value for value in range(1 << COPIES)}

# One run at a time: the oracle's Aer uses every core itself, and the circuits are shared.
one_run = Lock()


class SimulationFailed(Exception):
    """Aer did not run a circuit."""


def measure(
    bits: np.ndarray,
    bases: np.ndarray,
    measured_bases: np.ndarray,
    disturbance: Disturbance,
    nature: np.random.Generator,
    angles_degrees: tuple[float, ...] = ANGLES_DEGREES,
) -> np.ndarray:
    """The outcomes of measuring photons that carry `bits` in `bases`, each in its measured basis, after the channel.

    All arrays have shape (n,), dtype uint8; a basis is an index into `angles_degrees`. `nature` gives Aer's seeds.
    Raises SimulationFailed.
    """
    outcomes = np.empty_like(bits)
    bases_count = len(angles_degrees)
    group_of_photon = bits + 2 * (bases + bases_count * measured_bases)
    for group in range(2 * bases_count**2):
        where = np.flatnonzero(group_of_photon == group)
        if where.size:
            measured, basis = divmod(group >> 1, bases_count)
            circuit = pulse_circuit(group & 1, angles_degrees[basis], angles_degrees[measured], disturbance)
            outcomes[where] = _run(circuit, where.size, nature)
    return outcomes


@lru_cache(maxsize=128)
def pulse_circuit(
    bit: int, angle_degrees: float, measured_angle_degrees: float, disturbance: Disturbance = UNDISTURBED
) -> QuantumCircuit:
    """COPIES independent photons: Alice's state, the channel, Bob's measurement. Angles are of the polarisation."""
    circuit = QuantumCircuit(COPIES, COPIES)
    for qubit in range(COPIES):
        prepare(circuit, qubit, bit, angle_degrees)
        disturb(circuit, qubit, disturbance)
        turn(circuit, qubit, -measured_angle_degrees)
        circuit.measure(qubit, qubit)
    return circuit


def prepare(circuit: QuantumCircuit, qubit: int, bit: int, angle_degrees: float) -> None:
    """From the ground state to `bit` in the basis of that polarisation angle."""
    if bit:
        circuit.x(qubit)
    turn(circuit, qubit, angle_degrees)


def turn(circuit: QuantumCircuit, qubit: int, angle_degrees: float) -> None:
    """Turns the polarisation: Z is at 0°, X at 45°."""
    if angle_degrees:
        circuit.ry(2 * math.radians(angle_degrees), qubit)


def disturb(circuit: QuantumCircuit, qubit: int, disturbance: Disturbance) -> None:
    """The channel. Its errors are instructions of the circuit itself: hung on gates through a NoiseModel they can
    vanish with the gates they hang on.
    """
    for noise in disturbance.noise:
        circuit.append(_error(noise), [qubit])
    turn(circuit, qubit, disturbance.turn_degrees)


@lru_cache(maxsize=64)
def _error(noise: NoiseTerm) -> Instruction:
    return noise.error().to_instruction()


@lru_cache(maxsize=1)
def _simulator() -> AerSimulator:
    # density_matrix folds the noise in once and then samples; the other methods draw a trajectory for every shot.
    # Of so few qubits several threads wait for each other longer than they work.
    return AerSimulator(method="density_matrix", max_parallel_threads=1)


def _run(circuit: QuantumCircuit, photon_count: int, nature: np.random.Generator) -> np.ndarray:
    """Outcomes of `photon_count` photons, shape (photon_count,). Never transpiled: that can delete gates and noise."""
    seed = int(nature.integers(1 << 62))  # a fixed seed would repeat the same outcomes in every run
    with one_run:
        result = _simulator().run(circuit, shots=-(-photon_count // COPIES), memory=True, seed_simulator=seed).result()
    if not result.success:  # Aer reports what it cannot simulate here, not by an exception
        raise SimulationFailed(f"Aer did not run the pulses: {result.status}")
    memory = result.results[0].data.memory
    shots = np.fromiter(map(_VALUE_OF_SHOT.__getitem__, memory), np.uint8, len(memory))
    return np.unpackbits(shots[:, np.newaxis], axis=1, count=COPIES, bitorder="little").ravel()[:photon_count]
