"""One link in one process, no servers: the protocol's two ends joined in memory over the quantum link's own physics.

The ends are the lab's: `qkde.bb84.alice.Alice` and `run_bob`, their messages encoded and decoded as on the wire. Only
this module's result has the ground truth beside what the ends can see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qkde.bb84.alice import Alice
from qkde.bb84.bits import pack
from qkde.bb84.bob import run_bob
from qkde.bb84.estimation import error_rate
from qkde.bb84.intensities import PulseIntensities, counts_of
from qkde.bb84.messages import Message, StartRound, decode, encode
from qkde.bb84.pads import MemoryPads, pre_shared_key
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS
from qkde.chance import Chance
from qkde.ground_truth import truth_of_round
from qkde.link import exact
from qkde.link.channel import MODES, Transmission, transmit
from qkde.link.eve_record import EveRecord
from qkde.link.physics import LinkPhysics
from qkde.link.round_record import heard
from qkde.link.source import SinglePhotons, Source, WeakCoherentPulses, poisson
from qkde.link.theory import expected
from qkde.round_result import RoundResult
from qkde.simulation_settings import ImpossibleSimulation, setting_of, whole_pulses

BASIS_NAMES = {KEY_BASIS: "key", TEST_BASIS: "test"}
KINDS = ("detected", "errors")


def simulate(pulses: float = 1e6, *, seed: int | None = None, mode: str = "grouped", **settings: Any) -> RoundResult:
    """One round, from plain values: `simulate(1e6, depolarizing=0.06, eve="intercept-resend:0.1", seed=1)`.

    `settings` are the options of `qkd-lab bb84` by their names in its report, see
    `qkde.simulation_settings.setting_of`. `seed`: for a reproducible run, whose key is worth nothing. `mode`:
    `grouped` or `exact` (the oracle). A round that aborts is a result, too. Raises ValueError of several kinds, naming
    the parameter and its range, and qkde.link.aer.SimulationFailed.
    """
    setting = setting_of(whole_pulses(pulses), settings)
    return simulate_round(setting.parameters, setting.physics, setting.source, seed=seed, mode=mode)


def simulate_round(
    parameters: RoundParameters,
    physics: LinkPhysics,
    source: Source | None = None,
    *,
    seed: int | None = None,
    mode: str = "grouped",
    clock: Callable[[], float] = time.perf_counter,
) -> RoundResult:
    """The same from parameters that are made already. Raises ImpossibleSimulation, and qkde.link.aer.SimulationFailed;
    whatever else goes wrong is in the report.
    """
    source = source or SinglePhotons()
    parameters = replace(parameters, **source.round_settings())
    if mode not in MODES:
        raise ImpossibleSimulation(f"mode is {mode!r}: expected {' or '.join(MODES)}")
    if mode == "exact" and parameters.pulses > exact.MAX_PULSES:
        raise ImpossibleSimulation(
            f"pulses is {parameters.pulses}: mode exact takes up to {exact.MAX_PULSES}, as it runs every frame as "
            f"circuits of {exact.MAX_PULSES_PER_CIRCUIT} qubits"
        )
    if seed is not None and seed < 0:
        raise ImpossibleSimulation(f"seed is {seed}: expected an integer of 0 or more")
    chance = Chance.of(seed)
    order = StartRound(chance.block_id, "simulated", "simulation", parameters)
    key = pre_shared_key(lambda byte_count: pack(chance.alice.bits(8 * byte_count)))
    link = InMemoryLink(physics, chance.nature, mode)
    alice = Alice("simulated", MemoryPads(key), link, chance.alice, clock, keep=lambda block: None)
    bob_pads = MemoryPads(key)
    report = run_bob(order, InMemoryChannel(alice), link, chance.bob, clock, bob_pads, keep=lambda block: None)
    truth = truth_of_round(link.eve, report.to_json())
    intensities = _intensities(physics, source, link.counted) if isinstance(source, WeakCoherentPulses) else ()
    return RoundResult(report, truth, physics, source, mode, seed, intensities)


def _intensities(
    physics: LinkPhysics, source: WeakCoherentPulses, counted: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], ...]:
    """Per intensity what came of its pulses, and what theory has for a link on which nobody listens."""
    theory = {basis: expected(physics, source, basis) for basis in BASIS_NAMES}
    rows = []
    for i, (name, mean, probability) in enumerate(source.sent):
        at_this = source.intensities.index(mean)
        row = {
            "name": name,
            "intensity": mean,
            "probability": probability,
            "pulses": int(counted["pulses"][i]),
            "gain": error_rate(int(counted["clicks"][i]), int(counted["pulses"][i])),
            "gain_expected": theory[KEY_BASIS][at_this].gain,
        }
        for basis, what in BASIS_NAMES.items():
            detected, errors = (int(counted[f"{kind}_{what}"][i]) for kind in KINDS)
            row[f"detected_{what}"], row[f"qber_{what}"] = detected, error_rate(errors, detected)
            row[f"qber_{what}_expected"] = theory[basis][at_this].error_rate
        rows.append(row)
    return tuple(rows)


class InMemoryChannel:
    """Bob's channel to an Alice in the same process: every message goes as bytes, as on the wire."""

    def __init__(self, alice: Alice) -> None:
        self._alice = alice

    def ask(self, message: Message) -> Message:
        return decode(encode(self._alice.handle(decode(encode(message)))))


class InMemoryLink:
    """Alice's source and Bob's detectors on one link, and the record of what Eve heard. One frame at a time.

    `counted`: ground truth by intensity, also of rounds that end before their ends know it.
    """

    def __init__(self, physics: LinkPhysics, nature: np.random.Generator, mode: str) -> None:
        self._physics, self._nature, self._mode = physics, nature, mode
        self._prepared: tuple[np.ndarray, np.ndarray] | None = None
        self._intensities: PulseIntensities | None = None
        self._measured: tuple[np.ndarray, Transmission] | None = None
        self.eve = EveRecord()
        names = ("pulses", "clicks", *(f"{kind}_{what}" for kind in KINDS for what in BASIS_NAMES.values()))
        self.counted = {name: np.zeros(3, int) for name in names}

    def prepare(
        self, frame: int, bits: np.ndarray, bases: np.ndarray, intensities: PulseIntensities | None = None
    ) -> None:
        self._prepared, self._intensities, self._measured = (bits, bases), intensities, None

    def measure(self, frame: int, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        light, photons = self._intensities, None
        if light is not None:
            photons = poisson(light.means, light.choices, self._nature)
        sent = transmit(*self._prepared, bases, self._physics, self._nature, photons, self._mode)
        self._measured = bases, sent
        return sent.clicks, sent.outcomes

    def close(self, frame: int) -> bool:
        if self._measured is None:
            return False
        (bits, alice_bases), (bob_bases, sent) = self._prepared, self._measured
        self.eve += heard(bits, alice_bases, bob_bases, sent)
        if self._intensities is not None:
            self._count(self._intensities.choices, bits, alice_bases, bob_bases, sent)
        self._prepared = self._intensities = self._measured = None
        return True

    def _count(
        self, choices: np.ndarray, bits: np.ndarray, alice: np.ndarray, bob: np.ndarray, sent: Transmission
    ) -> None:
        clicked = sent.clicks == 1
        self.counted["pulses"] += counts_of(choices, 3)
        self.counted["clicks"] += counts_of(choices[clicked], 3)
        for basis, what in BASIS_NAMES.items():
            sifted = clicked & (alice == basis) & (bob == basis)
            self.counted[f"detected_{what}"] += counts_of(choices[sifted], 3)
            self.counted[f"errors_{what}"] += counts_of(choices[sifted & (sent.outcomes != bits)], 3)
