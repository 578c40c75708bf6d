"""`qkd-lab rate`: what theory says of a link, as a table: the curve to put a simulation beside."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from qkd_lab.cli.number_lists import NumberList
from qkd_lab.lab_folder import LabError
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.one_decoy import PROOFS
from qkde.parameter_sets import InvalidParameterSet, ParameterSet, load, names
from qkde.rates.channel import DETECTIONS
from qkde.rates.optimum import CHOSEN, optimised
from qkde.rates.predicted import FINITE_MODELS, MODELS, QBER_MODELS, Assumptions, predict

# Options that replace a value of the set, by the name of the value.
OVERRIDES = {
    "signal_intensity": ("--mu", "--signal-intensity"),
    "decoy_intensity": ("--nu", "--decoy-intensity"),
    "vacuum_intensity": ("--vacuum-intensity",),
    "signal_probability": ("--signal-probability",),
    "decoy_probability": ("--decoy-probability",),
    "vacuum_probability": ("--vacuum-probability",),
    "key_basis_probability": ("--key-basis-probability",),
    "attenuation_db_per_km": ("--attenuation-db-per-km",),
    "misalignment": ("--misalignment",),
    "detector_efficiency": ("--detector-efficiency",),
    "dark_count_probability": ("--dark-count-probability",),
    "afterpulse_probability": ("--afterpulse-probability",),
    "dead_time_s": ("--dead-time-s",),
    "repetition_rate_hz": ("--repetition-rate-hz",),
    "error_correction_efficiency": ("--efficiency", "--error-correction-efficiency"),
}


def overrides(command: Any) -> Any:
    """Options in place of a set's values."""
    for name, flags in reversed(OVERRIDES.items()):
        command = click.option(*flags, name, type=float, help=f"In place of the set's {name}.")(command)
    return command


@click.command()
@click.option("--model", type=click.Choice(list(MODELS)), default="decoy", show_default=True, help="The formula.")
@click.option("--set", "set_name", default="gys", show_default=True, help=f"{', '.join(names())}, or a .toml file.")
@click.option("--distance-km", type=NumberList(), help="One, a list 0,50 or a range 0:150:5. By default the set's.")
@click.option("--qber", type=NumberList(), help=f"In place of a distance, for {', '.join(QBER_MODELS)}.")
@click.option("--block-size", type=NumberList(), help="Sifted bits of the key basis. Finite models; by default 1e6.")
@click.option("--epsilon-secrecy", type=float, default=1e-10, show_default=True, help="Finite models.")
@click.option("--epsilon-correctness", type=float, default=1e-15, show_default=True, help="Finite models.")
@click.option("--proof", type=click.Choice(PROOFS), default=PROOFS[0], show_default=True, help="finite-one-decoy.")
@click.option("--detection", type=click.Choice(DETECTIONS), default=DETECTIONS[0], show_default=True,
              help="Detectors as in the decoy papers, or exact for threshold detectors.")  # fmt: skip
@click.option("--sifting", type=float,
              help="Part of the clicks that make key, in asymptotic models. By default p²+(1-p)².")  # fmt: skip
@click.option("--optimize", is_flag=True, help="Choose intensities and probabilities at each point for most key.")
@click.option("--json", "as_json", is_flag=True, help="An object with model, parameters and rows, instead of CSV.")
@overrides
def rate(
    model: str,
    set_name: str,
    distance_km: tuple[float, ...] | None,
    qber: tuple[float, ...] | None,
    block_size: tuple[float, ...] | None,
    optimize: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Key-rate formulas: secret bits per pulse against distance, QBER or block size, as CSV.

    A rate of 0 means no key. Published curves choose the intensities anew at each distance: --optimize.
    """
    if qber is not None and distance_km is not None:
        raise click.UsageError("--qber stands in place of --distance-km: give one of them")
    if block_size is not None and model not in FINITE_MODELS:
        raise click.UsageError(f"--block-size is for the models {', '.join(FINITE_MODELS)}: {model} has infinite keys")
    changes = {name: options.pop(name) for name in OVERRIDES}
    try:
        link = load(set_name).changed(**with_all_probabilities(model, changes))
        points = (
            [{"qber": error_rate} for error_rate in qber]
            if qber is not None
            else [{"distance_km": distance} for distance in distance_km or (link.distance_km,)]
        )
        sizes = [{"block_size_bits": size} for size in block_size] if block_size is not None else [{}]
        rows = list(_rows(model, link, options, points, sizes, optimize))
    except (InvalidParameterSet, InvalidParameter) as error:
        raise LabError(str(error)) from error
    except ImportError as error:
        raise LabError(f"--optimize needs scipy, which this image does not have ({error}): leave it out") from error
    if as_json:
        parameters = {**link.values(), **options}
        document = {"model": model, "set": set_name, "optimized": optimize, "parameters": parameters, "rows": rows}
        click.echo(json.dumps(document, indent=2))
    else:
        table = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def with_all_probabilities(model: str, changes: dict[str, float | None]) -> dict[str, float]:
    given = {name: value for name, value in changes.items() if value is not None}
    probabilities = ("signal_probability", "decoy_probability", "vacuum_probability")
    missing = [name for name in probabilities if name not in given]
    if len(missing) == 1:
        rest = 1 - sum(given[name] for name in probabilities if name in given)
        given[missing[0]] = rest if abs(rest) > 1e-12 else 0.0
    return given


def _rows(
    model: str,
    link: ParameterSet,
    options: dict[str, Any],
    points: list[dict[str, float]],
    sizes: list[dict[str, float]],
    optimize: bool,
) -> Iterator[dict[str, Any]]:
    for size in sizes:
        best: ParameterSet | None = None
        for point in points:
            assumptions = Assumptions(**options, **size, qber=point.get("qber"))
            here = link.changed(distance_km=point["distance_km"]) if "distance_km" in point else link
            if optimize:
                here = best = optimised(model, here, assumptions, start=best)
            found = predict(model, here, assumptions)
            per_pulse = found.secret_bits_per_pulse
            row: dict[str, Any] = {
                "distance_km": point.get("distance_km"),
                "qber": found.qber,
                "gain": found.gain,
                "secret_bits_per_pulse": per_pulse,
                "secret_bits_per_second": per_pulse * here.repetition_rate_hz * found.live_fraction,
            }
            if model in FINITE_MODELS:
                row |= {
                    "block_size_bits": assumptions.block_size_bits,
                    "pulses": found.pulses,
                    "secret_bits": found.secret_bits,
                    "phase_error_bound": found.phase_error_bound,
                }
            elif found.single_photon_yield is not None:
                row |= {
                    "single_photon_yield": found.single_photon_yield,
                    "single_photon_error_rate": found.single_photon_error_rate,
                }
            if optimize:
                row |= {name: getattr(here, name) for name in CHOSEN[model]}
            yield row
