"""`qkd-lab optimise`: the intensities, probabilities and basis bias with which a link gives most key."""

from __future__ import annotations

import json
from math import ceil, floor, log10
from typing import Any

import click

from qkd_lab.cli.rate import OVERRIDES, overrides, with_all_probabilities
from qkd_lab.lab_folder import LabError
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.one_decoy import PROOFS
from qkde.parameter_sets import InvalidParameterSet, ParameterSet, load, names
from qkde.rates.channel import DETECTIONS
from qkde.rates.optimum import CHOSEN
from qkde.rates.predicted import FINITE_MODELS, Assumptions, Prediction
from qkde.rates.search import METHOD, Coordinate, Optimum, search

MODELS = [name for name, choices in CHOSEN.items() if choices]
SOURCE = ("signal_intensity", "decoy_intensity", "vacuum_intensity", "signal_probability", "decoy_probability",
          "vacuum_probability")  # fmt: skip
CHANNEL = ("distance_km", "attenuation_db_per_km", "misalignment", "detector_efficiency", "dark_count_probability",
           "dead_time_s", "afterpulse_probability", "repetition_rate_hz")  # fmt: skip
# A round's most, qkde.bb84.parameters, which this image may not have; a test compares.
MAX_PULSES = 2**30
PULSES_PER_FRAME = 1 << 22


@click.command()
@click.option("--model", type=click.Choice(MODELS), default="finite-two-decoy", show_default=True, help="The formula.")
@click.option("--set", "set_name", default="gys", show_default=True, help=f"{', '.join(names())}, or a .toml file.")
@click.option("--distance-km", type=float, help="By default the set's.")
@click.option("--block-size", type=float, help="Sifted bits of the key basis. Finite models; by default 1e6.")
@click.option("--epsilon-secrecy", type=float, default=1e-10, show_default=True, help="Finite models.")
@click.option("--epsilon-correctness", type=float, default=1e-15, show_default=True, help="Finite models.")
@click.option("--proof", type=click.Choice(PROOFS), default=PROOFS[0], show_default=True, help="finite-one-decoy.")
@click.option("--detection", type=click.Choice(DETECTIONS), default=DETECTIONS[0], show_default=True,
              help="Detectors as in the decoy papers, or exact for threshold detectors.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For a program.")
@overrides
def optimise(
    model: str, set_name: str, distance_km: float | None, block_size: float | None, as_json: bool, **options: Any
) -> None:
    """Find what a link should send for most key at a distance and block size, and say what was searched.

    The same at every run. The last lines are options of `qkd-lab bb84` and tables for a topology.
    """
    if block_size is not None and model not in FINITE_MODELS:
        raise click.UsageError(f"--block-size is for the models {', '.join(FINITE_MODELS)}: {model} has infinite keys")
    changes = {name: options.pop(name) for name in OVERRIDES} | {"distance_km": distance_km}
    try:
        link = load(set_name).changed(**with_all_probabilities(model, changes))
        assumptions = Assumptions(**options, **({} if block_size is None else {"block_size_bits": block_size}))
        found = search(model, link, assumptions)
    except (InvalidParameterSet, InvalidParameter) as error:
        raise LabError(str(error)) from error
    except ImportError as error:
        raise LabError(f"optimise needs scipy, which this image does not have ({error})") from error
    document = document_of(model, set_name, found)
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(_lines(document)))


def document_of(model: str, set_name: str, found: Optimum) -> dict[str, Any]:
    """Plain JSON types. `best` is None where nothing that was searched gives key; `bb84` and `topology` are None there
    and for pulses without decoys, of which the lab makes no key.
    """
    has_key = found.prediction.secret_bits_per_pulse > 0
    finite, can_run = model in FINITE_MODELS, has_key and model != "gllp"
    return {
        "model": model,
        "set": set_name,
        "distance_km": found.link.distance_km,
        "block_size_bits": found.prediction.block_size_bits if finite else None,
        "as_given": _rates(found.link, found.given),
        "best": {name: getattr(found.link, name) for name in CHOSEN[model]}
        | _rates(found.link, found.prediction)
        | {"qber": found.prediction.qber, "pulses": found.prediction.pulses}
        if has_key
        else None,
        "searched": {
            "method": METHOD,
            "evaluations": found.evaluation_count,
            "coordinates": [_coordinate(one) for one in found.coordinates],
        },
        "bb84": _command(model, set_name, found) if can_run else None,
        "topology": _tables(model, found) if can_run else None,
    }


def _rates(link: ParameterSet, at: Prediction) -> dict[str, float]:
    per_pulse = at.secret_bits_per_pulse
    per_second = per_pulse * link.repetition_rate_hz * at.live_fraction
    return {"secret_bits_per_pulse": per_pulse, "secret_bits_per_second": per_second}


def _coordinate(one: Coordinate) -> dict[str, Any]:
    return {
        "quantity": one.quantity, "from": one.low, "to": one.high, "best": one.best, "at_a_bound": one.at_a_bound,
        "within_1_percent": one.flat,
    }  # fmt: skip


def _lines(document: dict[str, Any]) -> list[str]:
    best, searched = document["best"], document["searched"]
    size = f", blocks of {document['block_size_bits']:,.0f} bits" if document["block_size_bits"] else ""
    lines = [f"{document['model']}, set {document['set']}, {document['distance_km']:g} km{size}"]
    if best is None:
        lines.append("no key: none of the settings that were searched gives any")
    else:
        lines.append(
            f"{best['secret_bits_per_pulse']:.4g} secret bits a pulse, {best['secret_bits_per_second']:,.0f} a second; "
            f"as the set is: {document['as_given']['secret_bits_per_pulse']:.4g} a pulse"
        )
        lines += [f"  {name:24} {best[name]:.4g}" for name in CHOSEN[document["model"]]]
    lines.append(f"searched by {searched['method']}; {searched['evaluations']:,} evaluations")
    for one in searched["coordinates"]:
        line = f"  {one['quantity']} from {one['from']:g} to {one['to']:g}"
        if best is not None:
            low, high = one["within_1_percent"]
            bound = ", AT A BOUND" if one["at_a_bound"] else ""
            line += f": best {one['best']:.4g}{bound}; the rate is within 1 % from {low:.4g} to {high:.4g}"
        lines.append(line)
    return [*lines, "", document["bb84"], "", document["topology"]] if document["bb84"] else lines


def _values(model: str, link: ParameterSet) -> dict[str, float]:
    """What the ends must be set to, to four digits; the probabilities add up to 1."""
    values: dict[str, float] = {}
    if model != "finite":
        values = {name: _four_digits(getattr(link, name)) for name in SOURCE}
        if model == "finite-one-decoy":
            values["signal_probability"] = round(link.signal_probability / (1 - link.vacuum_probability), 4)
            values["decoy_probability"], values["vacuum_probability"] = round(1 - values["signal_probability"], 4), 0.0
        else:
            sent = values["signal_probability"] + values["decoy_probability"]
            values["vacuum_probability"] = round(1 - sent, 10)
    return values | {"key_basis_probability": _four_digits(link.key_basis_probability)}


def _command(model: str, set_name: str, found: Optimum) -> str:
    words, of_the_set = [f"qkd-lab bb84 --set {set_name}"], load(set_name)
    words += ["--source single-photon"] if model == "finite" else []
    channel = {name: getattr(found.link, name) for name in CHANNEL}
    changed = {name: value for name, value in channel.items() if value != getattr(of_the_set, name)}
    values = {"distance_km": found.link.distance_km} | changed | _values(model, found.link)
    words += [f"--{name.replace('_', '-')} {value:.10g}" for name, value in values.items()]
    words.append(f"--tolerance {_tolerance(found):.4g}")
    if found.prediction.pulses:
        words.append(f"--pulses {_pulses(found)}")
    return " ".join(words)


def _tables(model: str, found: Optimum) -> str:
    values = _values(model, found.link)
    physics = [f"{name} = {getattr(found.link, name):.10g}" for name in CHANNEL]
    protocol = [f"qber_tolerance = {_tolerance(found):.4g}"]
    if model == "finite":
        protocol.append(f"key_basis_probability = {values.pop('key_basis_probability'):.10g}")
        values = {}
    if found.prediction.pulses:
        frame_count = ceil(_pulses(found) / PULSES_PER_FRAME)
        per_frame = ceil(_pulses(found) / frame_count)
        protocol += [f"frame_count = {frame_count}", f"pulses_per_frame = {per_frame}"]
    source = [f"{name} = {value:.10g}" for name, value in values.items()]
    tables = (("source", source), ("physics", physics), ("protocol", protocol))
    return "\n\n".join("\n".join([f"[links.{name}]", *lines]) for name, lines in tables if lines)


def _pulses(found: Optimum) -> int:
    """For one block, to three digits and at most what a round has."""
    pulses = found.prediction.pulses
    digit = 10 ** max(0, floor(log10(pulses)) - 2)
    return min(ceil(pulses / digit) * digit, MAX_PULSES // 10**7 * 10**7)


def _tolerance(found: Optimum) -> float:
    """Of a run above the expected QBER, or every other round would abort."""
    return min(0.49, ceil(1000 * (found.prediction.qber or 0) + 20) / 1000)


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
