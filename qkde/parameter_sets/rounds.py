"""A link's round parameters from its protocol settings and what is said of Alice's source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qkde import parameter_sets
from qkde.bb84.parameters import RoundParameters
from qkde.parameter_sets.keys import SOURCES, InvalidParameterSet

SINGLE, WEAK = SOURCES
NAMES = ("signal", "decoy", "vacuum")
NOT_SENT = {f"{name}_{what}": 0.0 for name in NAMES[1:] for what in ("intensity", "probability")}


def round_parameters(protocol: Mapping[str, Any], source: Mapping[str, Any]) -> RoundParameters:
    """`protocol`: fields of RoundParameters. `source`: those of a parameter set's table [source], or `set`, the name of
    one that gives what is not there. Without either the pulses are single photons; naming an intensity means weak
    coherent ones. An intensity of probability 0 is not sent: without vacuum it is the one-decoy protocol.

    Raises InvalidParameterSet and InvalidParameter, which name the parameter and its range.
    """
    given = dict(source)
    named = given.pop("set", None)
    chosen = (parameter_sets.load(named).values() if named else {}) | given
    kind = chosen.get("source", WEAK if any(name in chosen for name in NOT_SENT | {"signal_intensity": 0}) else SINGLE)
    values = dict(protocol)
    if "key_basis_probability" in chosen:
        values["key_basis_probability"] = float(chosen["key_basis_probability"])
    if kind == SINGLE:
        return RoundParameters(**values)
    if "signal_intensity" not in chosen or "signal_probability" not in chosen:
        raise InvalidParameterSet(
            "signal_intensity and signal_probability are missing: give them, or a parameter set that has them as `set`"
        )
    chosen = NOT_SENT | chosen
    total = sum(chosen[f"{name}_probability"] for name in NAMES)
    if abs(total - 1) > 1e-9:
        raise InvalidParameterSet(
            f"signal_probability, decoy_probability and vacuum_probability add up to {total:g}: expected 1"
        )
    sent = [name for name in NAMES if chosen[f"{name}_probability"] > 0]
    return RoundParameters(
        **values,
        intensities=tuple(float(chosen[f"{name}_intensity"]) for name in sent),
        intensity_probabilities=tuple(float(chosen[f"{name}_probability"]) for name in sent),
    )
