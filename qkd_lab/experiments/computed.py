"""A task's result: a flat mapping of names to numbers, texts or None. What a worker does, wherever it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.parameters import LINK_MODEL
from qkd_lab.experiments.simulated import setting, simulated
from qkd_lab.experiments.tasks import Task
from qkde import parameter_sets
from qkde.expected_round import expected_round
from qkde.frame_pair import reconcile_frame_pair
from qkde.link.aer import SimulationFailed
from qkde.parameter_sets import ParameterSet
from qkde.rates.optimum import CHOSEN, optimised
from qkde.rates.predicted import Assumptions, predict


def compute(task: Task) -> tuple[dict[str, Any], float]:
    """The result and the seconds it took. Raises ExperimentError for a point that turns out impossible on the way."""
    started = time.perf_counter()
    try:
        result = _BY_KIND[task.kind](task.parameters, task.seed)
    except (ValueError, SimulationFailed) as error:
        raise ExperimentError(f"series {task.series}, point {task.point + 1}: {error}") from error
    return result, time.perf_counter() - started


def check(task: Task, file: str) -> None:
    """Raises ExperimentError where the point is impossible: before a sweep begins, not after half of it."""
    try:
        if task.kind == "cascade":
            _check_frame(**task.parameters)
        elif task.kind == "theory" and task.parameters["model"] != LINK_MODEL:
            predict(task.parameters["model"], *_formula(task.parameters))
        elif task.kind == "theory":
            _link_theory(task.parameters)
        else:
            setting(task.parameters)
    except ValueError as error:  # every kind of impossible input is one, and says what was expected
        raise ExperimentError(f"{file}: series {task.series}, point {task.point + 1}: {error}") from error


def _theory(parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    model = parameters["model"]
    if model == LINK_MODEL:
        return _link_theory(parameters)
    link, assumptions = _formula(parameters)
    chosen = {}
    if parameters.get("optimize", False):
        link = optimised(model, link, assumptions)
    found = predict(model, link, assumptions)
    # Where nothing gives key, what comes nearest to it is no optimum.
    if parameters.get("optimize", False) and found.secret_bits_per_pulse > 0:
        chosen = {name: getattr(link, name) for name in CHOSEN[model]}
    return {
        "gain": found.gain,
        "qber": found.qber,
        "secret_bits_per_pulse": found.secret_bits_per_pulse,
        "secret_bits_per_second": found.secret_bits_per_pulse * link.repetition_rate_hz * found.live_fraction,
        "pulses_sent": found.pulses,
        "phase_error_bound": found.phase_error_bound,
        "single_photon_yield": found.single_photon_yield,
        "single_photon_error_rate": found.single_photon_error_rate,
        **chosen,
    }


def _formula(parameters: Mapping[str, Any]) -> tuple[ParameterSet, Assumptions]:
    link = parameter_sets.load(parameters["set"]).changed(
        **{name: value for name, value in parameters.items() if name in parameter_sets.KEYS}
    )
    names = Assumptions.__dataclass_fields__
    return link, Assumptions(**{name: value for name, value in parameters.items() if name in names})


def _link_theory(parameters: Mapping[str, Any]) -> dict[str, Any]:
    made = setting(parameters)
    efficiency = parameters.get("error_correction_efficiency", 1.16)
    return expected_round(made.parameters, made.physics, made.source, efficiency).to_json()


def _check_frame(frame_bits: int, qber: float, reconciliation: str) -> None:
    if not 100 <= frame_bits <= 10**8:
        raise ExperimentError(f"frame_bits is {frame_bits}: expected an integer from 100 to 1e8")
    if not 0 < qber < 0.5:
        raise ExperimentError(f"qber is {qber:g}: expected a fraction above 0 and below 0.5")


def _cascade(parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    nature, public = (np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(2))
    pair = reconcile_frame_pair(
        parameters["reconciliation"], parameters["frame_bits"], parameters["qber"], nature, public.bytes
    )
    return {
        "reconciliation_efficiency": pair.efficiency,
        "disclosed_parities": pair.disclosed_parities,
        "reconciliation_messages": pair.message_count,
        "is_right": pair.is_right,
        "bits_per_s": parameters["frame_bits"] / pair.elapsed_s,
    }


_BY_KIND: dict[str, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    "simulation": simulated,
    "cascade": _cascade,
    "theory": _theory,
}
