"""From plain values, as a person or a file gives them, to what `qkde.simulation.simulate` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil, log2
from typing import Any

from qkde import parameter_sets
from qkde.bb84.parameters import RoundParameters
from qkde.link.noise import NoiseFromFile
from qkde.link.physics import LinkPhysics
from qkde.link.source import SinglePhotons, Source, WeakCoherentPulses
from qkde.simulation import ImpossibleSimulation, frames_of

SOURCES = (SinglePhotons.name, WeakCoherentPulses.name)
ROUND = [field.name for field in fields(RoundParameters)]
PHYSICS = [field.name for field in fields(LinkPhysics)]
INTENSITIES = [field.name for field in fields(WeakCoherentPulses)]


@dataclass(frozen=True)
class Setting:
    """What one run needs beside its seed and mode."""

    parameters: RoundParameters
    physics: LinkPhysics
    source: Source


def setting_of(pulses: int, values: Mapping[str, Any]) -> Setting:
    """`values`: fields of RoundParameters, LinkPhysics and WeakCoherentPulses by name, `source`, `set` (a parameter set
    that gives what is not there) and `noise_file`. Without `source`, naming an intensity means weak coherent pulses.

    Raises ValueError of several kinds; its text names the parameter and its range.
    """
    given = dict(values)
    named_set, noise_file = given.pop("set", None), given.pop("noise_file", None)
    if "source" not in given and named_set is None and any(name in given for name in INTENSITIES):
        given["source"] = WeakCoherentPulses.name
    if named_set is not None:
        given = parameter_sets.load(named_set).values() | given
    per_frame, frame_count = frames_of(pulses)
    parameters = RoundParameters(
        pulses_per_frame=per_frame, frame_count=frame_count, **{name: given[name] for name in ROUND if name in given}
    )
    _check_enough(parameters)
    physics = LinkPhysics().changed(**{name: given[name] for name in PHYSICS if name in given})
    if noise_file is not None:
        physics = physics.changed(noise=(*physics.noise, NoiseFromFile.load(noise_file)))
    return Setting(parameters, physics, _source(given))


def _source(given: Mapping[str, Any]) -> Source:
    name = given.get("source", SinglePhotons.name)
    if name not in SOURCES:
        raise ImpossibleSimulation(f"source is {name!r}: expected {' or '.join(SOURCES)}")
    if name == SinglePhotons.name:
        return SinglePhotons()
    return WeakCoherentPulses(**{field: given[field] for field in INTENSITIES if field in given})


def _check_enough(parameters: RoundParameters) -> None:
    """If every pulse gave a key bit and Eve had nothing, what verification and the proof cost must still leave one."""
    proof_bits = log2(2 / parameters.epsilon_secrecy**2)
    least = ceil(parameters.verification_bits + parameters.security_margin_bits + proof_bits) + 8
    if parameters.pulses < least:
        raise ImpossibleSimulation(
            f"pulses is {parameters.pulses}: too few for one bit of key, expected at least {least} "
            f"(and far more for a key) at epsilon_secrecy {parameters.epsilon_secrecy:g}"
        )
