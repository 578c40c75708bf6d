"""From plain values, as a person or a file gives them, to what `qkde.simulation.simulate` takes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil, log2
from numbers import Real
from typing import Any

import numpy as np

from qkde import parameter_sets
from qkde.bb84.parameters import MAX_PULSES_PER_FRAME, MAX_PULSES_PER_ROUND, RoundParameters
from qkde.link.channel import CHUNK_PULSES
from qkde.link.noise import NoiseFromFile
from qkde.link.physics import LinkPhysics
from qkde.link.source import SinglePhotons, Source, WeakCoherentPulses
from qkde.parameter_sets import ParameterSet

SOURCES = (SinglePhotons.name, WeakCoherentPulses.name)
ROUND = [field.name for field in fields(RoundParameters)]
PHYSICS = [field.name for field in fields(LinkPhysics)]
INTENSITIES = [field.name for field in fields(WeakCoherentPulses)]
# What follows from the number of pulses and the source is not a setting of its own.
FOLLOWS = ("pulses_per_frame", "frame_count", "intensities", "intensity_probabilities")
NAMES = ("set", "source", *INTENSITIES, *PHYSICS, "noise_file", *(name for name in ROUND if name not in FOLLOWS))


class ImpossibleSimulation(ValueError):
    """A run that cannot be made; the message names the parameter and its range."""


@dataclass(frozen=True)
class Setting:
    """What one run needs beside its seed and mode."""

    parameters: RoundParameters
    physics: LinkPhysics
    source: Source


def setting_of(pulses: int, values: Mapping[str, Any]) -> Setting:
    """`values`: fields of RoundParameters, LinkPhysics and WeakCoherentPulses by name, `source`, `set` (a parameter set
    or its name: it gives what is not there) and `noise_file`. Without `source`, naming an intensity means weak
    coherent pulses.

    Raises ValueError of several kinds; its text names the parameter and its range.
    """
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    if unknown := sorted(set(given) - set(NAMES)):
        close = [f"did you mean {best[0]}? " for best in [difflib.get_close_matches(unknown[0], NAMES, 1)] if best]
        raise ImpossibleSimulation(f"no setting {unknown[0]}: {''.join(close)}expected some of {', '.join(NAMES)}")
    named_set, noise_file = given.pop("set", None), given.pop("noise_file", None)
    if "source" not in given and named_set is None and any(name in given for name in INTENSITIES):
        given["source"] = WeakCoherentPulses.name
    if named_set is not None:
        of_the_set = named_set if isinstance(named_set, ParameterSet) else parameter_sets.load(named_set)
        given = of_the_set.values() | given
    per_frame, frame_count = frames_of(pulses)
    parameters = RoundParameters(
        pulses_per_frame=per_frame, frame_count=frame_count, **{name: given[name] for name in ROUND if name in given}
    )
    _check_enough(parameters)
    physics = LinkPhysics().changed(**{name: given[name] for name in PHYSICS if name in given})
    if noise_file is not None:
        physics = physics.changed(noise=(*physics.noise, NoiseFromFile.load(noise_file)))
    return Setting(parameters, physics, _source(given))


def frames_of(pulses: int) -> tuple[int, int]:
    """(pulses_per_frame, frame_count) that give exactly `pulses`, in frames that fit a run of Aer where that goes.

    Raises ImpossibleSimulation.
    """
    if not 1 <= pulses <= MAX_PULSES_PER_ROUND:
        raise ImpossibleSimulation(f"pulses is {pulses}: expected an integer from 1 to {MAX_PULSES_PER_ROUND}")
    least = -(-pulses // CHUNK_PULSES)
    counts = (count for count in range(least, 64 * least) if pulses % count == 0)
    count = next(counts, 1)
    if pulses // count > MAX_PULSES_PER_FRAME:
        raise ImpossibleSimulation(f"pulses is {pulses}: above {MAX_PULSES_PER_FRAME} expected a multiple of 1000")
    return pulses // count, count


def whole_pulses(pulses: float) -> int:
    """`pulses` as an integer, which 1e6 is not to Python. Raises ImpossibleSimulation."""
    if not isinstance(pulses, Real) or isinstance(pulses, bool) or not float(pulses).is_integer():
        raise ImpossibleSimulation(f"pulses is {pulses!r}: expected an integer from 1 to {MAX_PULSES_PER_ROUND}")
    return int(pulses)


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
