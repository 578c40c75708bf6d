"""What a link without Eve must show: gains and error rates, for a run to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp

from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator

from qkde.link import aer
from qkde.link.noise import Disturbance
from qkde.link.physics import LinkPhysics
from qkde.link.source import SinglePhotons, Source


@dataclass(frozen=True)
class Expected:
    """gain: probability that a pulse clicks. error_rate: of those, in Alice's basis; None where nothing clicks."""

    gain: float
    error_rate: float | None


@lru_cache(maxsize=64)
def photon_error_rate(disturbance: Disturbance, basis: int) -> float:
    """That a photon sent and measured in `basis` (0 is Z, 1 is X) is found wrong, over both bits; from its density
    matrix.
    """
    wrong = 0.0
    for bit in (0, 1):
        circuit = QuantumCircuit(1)
        aer.prepare(circuit, 0, bit, aer.ANGLES_DEGREES[basis])
        aer.disturb(circuit, 0, disturbance)
        aer.turn(circuit, 0, -aer.ANGLES_DEGREES[basis])
        circuit.save_density_matrix()
        state = AerSimulator(method="density_matrix").run(circuit).result().data()["density_matrix"]
        wrong += float(state.data[1 - bit, 1 - bit].real) / 2
    return wrong


def expected(
    physics: LinkPhysics, source: Source, basis: int, flipped_by_eve: float = 0.0
) -> tuple[Expected, ...]:
    """For each of the source's intensities, or for single photons; both ends in `basis`.

    `flipped_by_eve`: that whoever measures and resends every photon on its own sends it on wrong; 0 without an Eve.

    Two threshold detectors, a double click a random bit: with s and w the probabilities that the right and the wrong
    one fire, E·Q = w(1 − s) + ws/2. For weak pulses Q = 1 − (1 − Y0)e^(−ημ), and s and w follow from the Poisson
    numbers of photons on each. (Y0/2 + e_d(1 − e^(−ημ)) is its limit for small ημ.) Dead time takes a share of the
    clicks that does not depend on the intensity; afterpulses are left out.
    """
    wrong_photon = photon_error_rate(physics.disturbance, basis)
    wrong_photon += flipped_by_eve * (1 - 2 * wrong_photon)
    dark = 1 - (1 - physics.dark_count_probability) ** 0.5
    if isinstance(source, SinglePhotons):
        arrives = physics.transmittance
        w = dark + (1 - dark) * arrives * wrong_photon
        s = dark + (1 - dark) * arrives * (1 - wrong_photon)
        # One photon cannot fire both: they are not independent.
        both = arrives * dark + (1 - arrives) * dark**2
        rates = [Expected(s + w - both, _rate(w - both / 2, s + w - both))]
        weights = [1.0]
    else:
        rates = []
        for intensity in source.intensities:
            light = physics.transmittance * intensity
            w = 1 - (1 - dark) * exp(-light * wrong_photon)
            s = 1 - (1 - dark) * exp(-light * (1 - wrong_photon))
            rates.append(Expected(s + w - s * w, _rate(w - s * w / 2, s + w - s * w)))
        weights = list(source.probabilities)
    live = 1 / (1 + physics.dead_pulses * sum(q.gain * p for q, p in zip(rates, weights, strict=True)))
    return tuple(Expected(rate.gain * live, rate.error_rate) for rate in rates)


def _rate(errors: float, gain: float) -> float | None:
    return errors / gain if gain > 0 else None
