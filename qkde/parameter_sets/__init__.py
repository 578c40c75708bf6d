"""Named parameter sets of a BB84 link, one TOML file each: source, fibre, detectors as a paper or data sheet has them.

A set is data only. Formulas (`qkde.rates`) and simulation read the same one, so that theory and run can be compared.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qkde.parameter_sets.keys import TABLES, TEXTS, InvalidParameterSet, Key

SHIPPED = Path(__file__).parent
KEYS: dict[str, Key] = {name: key for table in TABLES.values() for name, key in table.items()}


@dataclass(frozen=True, kw_only=True)
class ParameterSet:
    """One link. Raises InvalidParameterSet, naming the parameter and its range (`keys` has the ranges).

    source: `single-photon` or `weak-coherent` (phase-randomised, Poisson). Intensities are mean photon numbers per
    pulse, `*_probability` how often Alice takes each; a single-photon source ignores them.
    key_basis_probability: of either end to choose the key basis.
    attenuation_db_per_km, distance_km: of the fibre. misalignment: e_d, a photon's probability to end in the wrong
    detector. detector_efficiency: η_Bob, optics of his box included. dark_count_probability: Y0, that a pulse
    without light clicks, all of Bob's detectors together. afterpulse_probability: that a click is followed by another
    without light. error_correction_efficiency: f ≥ 1, leakage over the Shannon limit.
    """

    name: str
    description: str = ""
    references: tuple[str, ...] = ()
    source: str
    repetition_rate_hz: float
    signal_intensity: float
    decoy_intensity: float
    vacuum_intensity: float
    signal_probability: float
    decoy_probability: float
    vacuum_probability: float
    key_basis_probability: float
    attenuation_db_per_km: float
    distance_km: float
    misalignment: float
    detector_efficiency: float
    dark_count_probability: float
    dead_time_s: float
    afterpulse_probability: float
    error_correction_efficiency: float

    def __post_init__(self) -> None:
        for name, key in KEYS.items():
            key.check(name, getattr(self, name))
        if not self.signal_intensity > self.decoy_intensity > self.vacuum_intensity:
            raise InvalidParameterSet(
                f"signal_intensity {self.signal_intensity}, decoy_intensity {self.decoy_intensity}, vacuum_intensity "
                f"{self.vacuum_intensity}: expected each above the next"
            )
        total = self.signal_probability + self.decoy_probability + self.vacuum_probability
        if abs(total - 1) > 1e-9:
            raise InvalidParameterSet(
                f"signal_probability, decoy_probability and vacuum_probability add up to {total:g}: expected 1"
            )

    @property
    def transmittance(self) -> float:
        """η = η_Bob·10^(−αl/10): the probability that a photon of Alice's clicks at Bob, without dark counts."""
        return self.detector_efficiency * 10 ** (-self.attenuation_db_per_km * self.distance_km / 10)

    def changed(self, /, **values: Any) -> ParameterSet:
        """A copy with some values replaced. Raises InvalidParameterSet."""
        if unknown := sorted(set(values) - set(KEYS)):
            raise InvalidParameterSet(
                f"a parameter set has no {', '.join(unknown)}: expected some of {', '.join(KEYS)}"
            )
        return replace(self, **values)

    def values(self) -> dict[str, float | str]:
        """The settings as plain values, for a report: `changed(**values())` gives them back."""
        return {name: getattr(self, name) for name in KEYS}


def names() -> tuple[str, ...]:
    """The sets that come with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def load(name_or_path: str | Path) -> ParameterSet:
    """A shipped set by its name, or a file that ends in .toml. Raises InvalidParameterSet: file, table, key, range."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if str(name_or_path) not in names():
            raise InvalidParameterSet(
                f"no parameter set {str(name_or_path)!r}: expected {', '.join(names())} or a path that ends in .toml"
            )
        path = SHIPPED / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidParameterSet(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidParameterSet(f"{path}: not a TOML file: {error}") from error
    try:
        return ParameterSet(name=path.stem, **_flat(content))
    except InvalidParameterSet as error:
        raise InvalidParameterSet(f"{path}: {error}") from error


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all tables by name; the tables only order the file for a reader."""
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name in TEXTS:
            TEXTS[name].check(name, value)
            values[name] = tuple(value) if isinstance(value, list) else value
        elif name not in TABLES or not isinstance(value, Mapping):
            raise InvalidParameterSet(f"{name}: unknown, expected {', '.join(TEXTS)} or tables {', '.join(TABLES)}")
    for table, keys in TABLES.items():
        found = content.get(table, {})
        for name in found:
            if name not in keys:
                raise InvalidParameterSet(f"[{table}] {name}: unknown, expected {', '.join(keys)}")
        for name, key in keys.items():
            if name not in found:
                raise InvalidParameterSet(f"[{table}] {name}: missing, expected {key.expected}")
            key.check(f"[{table}] {name}", found[name])
            values[name] = found[name]
    return values
