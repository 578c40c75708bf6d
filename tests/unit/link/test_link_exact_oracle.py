"""The grouped execution against the oracle: one circuit of n qubits per frame, one shot, Eve in the middle of it."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit_aer import AerSimulator
from qiskit_aer.noise import depolarizing_error

from qkde.link.channel import transmit
from qkde.link.physics import LinkPhysics

PULSES_PER_CIRCUIT = 50
CIRCUITS = 60


def exact(bits, bases, measured_bases, depolarizing, attacked, eve_bases, seed):
    """Outcomes of one frame. Eve measures in mid-circuit, so that here the state itself collapses."""
    n = bits.size
    qubits, eve, bob = QuantumRegister(n), ClassicalRegister(n, "eve"), ClassicalRegister(n, "bob")
    circuit = QuantumCircuit(qubits, eve, bob)

    def turned(qubit, basis):
        if basis:
            circuit.h(qubit)

    for i in range(n):
        if bits[i]:
            circuit.x(i)
        turned(i, bases[i])
        if attacked[i]:
            turned(i, eve_bases[i])
            circuit.measure(i, eve[i])
            turned(i, eve_bases[i])
        if depolarizing:
            circuit.append(depolarizing_error(depolarizing, 1), [i])
        turned(i, measured_bases[i])
        circuit.measure(i, bob[i])
    simulator = AerSimulator(method="matrix_product_state")
    result = simulator.run(circuit, shots=1, memory=True, seed_simulator=seed).result()
    assert result.success
    register_of_bob = result.get_memory()[0].split()[0]
    return np.array([int(outcome) for outcome in reversed(register_of_bob)])


@pytest.mark.parametrize(("depolarizing", "fraction"), [(0.0, 0.0), (0.2, 0.0), (0.0, 1.0), (0.1, 0.5)])
def test_both_executions_follow_the_same_law_in_every_combination_of_bases(depolarizing, fraction):
    """Ones per (bit, basis, measured basis): two equal samples differ by at most 4 sigma in any of 32 comparisons."""
    rng = np.random.default_rng(20)
    n = PULSES_PER_CIRCUIT * CIRCUITS
    bits, bases, measured_bases, eve_bases = rng.integers(0, 2, (4, n), dtype=np.uint8)
    attacked = rng.random(n) < fraction
    frames = np.split(np.arange(n), CIRCUITS)
    oracle = np.concatenate(
        [
            exact(bits[i], bases[i], measured_bases[i], depolarizing, attacked[i], eve_bases[i], 1_000 + seed)
            for seed, i in enumerate(frames)
        ]
    )
    physics = LinkPhysics(depolarizing=depolarizing).changed(eve=f"intercept-resend:{fraction}")
    grouped = transmit(bits, bases, measured_bases, physics, rng).outcomes
    for group in range(8):
        where = (bits | bases << 1 | measured_bases << 2) == group
        ones = oracle[where].mean(), grouped[where].mean()
        pooled = sum(ones) / 2
        assert abs(ones[0] - ones[1]) <= 4 * (2 * pooled * (1 - pooled) / where.sum()) ** 0.5
