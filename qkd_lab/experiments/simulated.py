"""One simulated point: as many rounds as its stopping rule wants, their counts added up."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np

from qkd_lab.experiments.asymptotic_estimate import asymptotic_rates
from qkd_lab.experiments.tasks import derived_seed
from qkde.simulation import simulate_round
from qkde.simulation_settings import ImpossibleSimulation, Setting, setting_of

BASES = ("key", "test")
LIGHTS = ("signal", "decoy", "vacuum")
EVE = "eve_information_per_key_bit"


def setting(parameters: Mapping[str, Any]) -> Setting:
    """What a round of the point needs. Raises ValueError, naming the parameter and its range."""
    given = dict(parameters)
    for name in ("model", "set", "error_correction_efficiency"):
        given.pop(name, None)
    least, most = given.pop("enough_clicks", 1), given.pop("max_pulses", None)
    if least < 1:
        raise ImpossibleSimulation(f"enough_clicks is {least}: expected an integer from 1")
    if most is not None and most < given["pulses"]:
        raise ImpossibleSimulation(f"max_pulses is {most}: expected no less than pulses, {given['pulses']}")
    if "enough_clicks" in parameters and most is None:
        raise ImpossibleSimulation("enough_clicks without max_pulses: expected where to stop on a dark link, too")
    if (fraction := given.pop("eve_fraction", None)) is not None:
        name, *basis = given.get("eve", "intercept-resend").split(":")
        given["eve"] = ":".join([name, f"{fraction:.12g}", *basis])
    return setting_of(given.pop("pulses"), given)


def simulated(parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Counts and rates of all rounds of one point. `*_sigma`: one standard deviation, binomial."""
    made = setting(parameters)
    sums: dict[str, float] = {}
    efficiencies, round_count = [], 0
    while True:
        # Each round has a seed of its own, the first the point's: a single round can be run again by `qkd-lab bb84`.
        round_seed = seed if round_count == 0 else derived_seed(seed, round_count)
        row = simulate_round(made.parameters, made.physics, made.source, seed=round_seed).to_json()
        round_count += 1
        for name, count in _counts(row).items():
            sums[name] = sums.get(name, 0) + count
        if row["reconciliation_efficiency"] is not None:
            efficiencies.append(row["reconciliation_efficiency"])
        if not _goes_on(parameters, sums):
            break
    f = parameters.get("error_correction_efficiency", 1.16)
    return {
        "rounds": round_count,
        **{name: int(count) for name, count in sums.items() if name != EVE},
        **_rate("gain", sums["detected_pulses"], sums["pulses_sent"]),
        **_rate("qber", sums["errors_disclosed"], sums["bits_disclosed"]),
        **_rate("qber_test", sums["errors_test"], sums["disclosed_test"]),
        **_rate("qber_key", sums["errors_key"], sums["corrected_key"]),
        **_rates_by_light(sums),
        "secret_bits_per_pulse": sums["secret_bits"] / sums["pulses_sent"],
        "reconciliation_efficiency": float(np.mean(efficiencies)) if efficiencies else None,
        EVE: sums[EVE] / sums["detected_key"] if sums["detected_key"] else None,
        **asymptotic_rates(made, sums, f),
    }


def _counts(row: Mapping[str, Any]) -> dict[str, float]:
    """What adds up over rounds. Errors count where both ends knew them: the sample, corrected key bits."""
    counts = row["counts"]
    key, key_errors, test_errors = counts["key_detected"], counts["key_errors"], counts["test_errors"]
    corrected = sum(key) if key_errors is not None else 0
    disclosed_test = row["sample_bits"] if test_errors is not None else 0
    errors_key, errors_test = sum(key_errors or ()), sum(test_errors or ())
    found = {
        "pulses_sent": row["pulses"],
        "detected_pulses": row["detected_pulses"],
        "sifted_bits": row["sifted_bits"],
        "detected_key": sum(key),
        "corrected_key": corrected,
        "errors_key": errors_key,
        "disclosed_test": disclosed_test,
        "errors_test": errors_test,
        "bits_disclosed": corrected + disclosed_test,
        "errors_disclosed": errors_key + errors_test,
        "reconciliation_messages": row["reconciliation_messages"],
        "secret_bits": row["secret_bits"],
        "aborted_rounds": int(row["aborted"]),
        EVE: row["ground_truth"]["eve_sifted_information_bits"],
    }
    for light in row["intensities"]:
        name = light["name"]
        found[f"{name}_pulses"] = light["pulses"]
        found[f"{name}_clicks"] = round((light["gain"] or 0) * light["pulses"])
        for basis in BASES:
            detected = light[f"detected_{basis}"]
            found[f"{name}_detected_{basis}"] = detected
            found[f"{name}_errors_{basis}"] = round((light[f"qber_{basis}"] or 0) * detected)
    return found


def _rates_by_light(sums: Mapping[str, float]) -> dict[str, float | None]:
    rates: dict[str, float | None] = {}
    for name in LIGHTS:
        if f"{name}_pulses" in sums:
            rates |= _rate(f"{name}_gain", sums[f"{name}_clicks"], sums[f"{name}_pulses"])
            for basis in BASES:
                counts = sums[f"{name}_errors_{basis}"], sums[f"{name}_detected_{basis}"]
                rates |= _rate(f"{name}_qber_{basis}", *counts)
    return rates


def _rate(name: str, count: float, trials: float) -> dict[str, float | None]:
    """None where there was nothing to count: a QBER of nothing is undefined, not 0."""
    if not trials:
        return {name: None, f"{name}_sigma": None}
    rate = count / trials
    return {name: rate, f"{name}_sigma": sqrt(rate * (1 - rate) / trials)}


def _goes_on(parameters: Mapping[str, Any], sums: Mapping[str, float]) -> bool:
    """`enough_clicks` are wanted, and there is room for another round under `max_pulses`."""
    enough = parameters.get("enough_clicks", 0)
    room = parameters.get("max_pulses", 0) - sums["pulses_sent"]
    return sums["detected_pulses"] < enough and room >= parameters["pulses"]
