"""The best settings of a link, searched thoroughly, with an account of the search: where, how, how flat the top is.

`qkde.rates.optimum` finds the same for the points of a curve, from its neighbours and in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

from qkde.bb84.errors import InvalidParameter
from qkde.parameter_sets import ParameterSet
from qkde.rates.optimum import CHOSEN, cost_at, link_at, logit, optimised, point_of, probability_of
from qkde.rates.predicted import Assumptions, Prediction, predict

METHOD = (
    "differential evolution within the bounds (SciPy, 15 points per coordinate, Sobol, seed 0), then Nelder and Mead "
    "from its best, and from the best of a coarse grid"
)
# What is searched, of each that a model may choose: a quantity of its own, so that no bound depends on another.
QUANTITY = {
    "signal_intensity": "signal_intensity",
    "decoy_intensity": "decoy_intensity / signal_intensity",
    "signal_probability": "signal_probability / (signal_probability + decoy_probability)",
    "decoy_probability": "signal_probability + decoy_probability",
    "key_basis_probability": "key_basis_probability",
}
BOUNDS = {"signal_intensity": (1e-6, 5.0)}
OF_A_PART = (0.001, 0.999)
FLAT = 0.01  # how far the rate may fall where a coordinate is said to make no difference


@dataclass(frozen=True)
class Coordinate:
    """One searched quantity: its bounds, its best value, and from where to where, the others at their best, the rate is
    within 1 % of the best (None without a key).
    """

    quantity: str
    low: float
    high: float
    best: float
    flat: tuple[float, float] | None

    @property
    def at_a_bound(self) -> bool:
        return not self.low * 1.01 < self.best < self.high / 1.0001


@dataclass(frozen=True)
class Optimum:
    """`link` has the best settings, `prediction` what they give, `given` what the link gave as it was."""

    link: ParameterSet
    prediction: Prediction
    given: Prediction
    coordinates: tuple[Coordinate, ...]
    evaluation_count: int


def search(model: str, link: ParameterSet, assumptions: Assumptions) -> Optimum:
    """The same at every run. Raises InvalidParameter; ImportError without SciPy."""
    given = predict(model, link, assumptions)
    names = CHOSEN[model]
    if not names:
        able = ", ".join(name for name, choices in CHOSEN.items() if choices)
        raise InvalidParameter(f"model {model} has nothing to choose: expected one of {able}")
    from scipy.optimize import differential_evolution, minimize  # not in every image that has the formulas

    evaluation_count = 0

    def cost(point: Sequence[float]) -> float:
        nonlocal evaluation_count
        evaluation_count += 1
        return cost_at(model, link, assumptions, point)

    bounds = [tuple(_inside(name, value) for value in BOUNDS.get(name, OF_A_PART)) for name in names]
    evolved = differential_evolution(cost, bounds, seed=0, init="sobol", tol=1e-3, maxiter=400, polish=False)
    near = point_of(model, optimised(model, link, assumptions))
    starts = [evolved.x, [min(max(value, low), high) for value, (low, high) in zip(near, bounds, strict=True)]]
    fine = {"method": "Nelder-Mead", "bounds": bounds, "options": {"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-12}}
    best = min((minimize(cost, start, **fine) for start in starts), key=lambda found: found.fun)
    best = minimize(cost, best.x, **fine)  # a fresh simplex, where the first has collapsed
    found = link_at(model, link, best.x)
    prediction = predict(model, found, assumptions)
    coordinates = tuple(_coordinate(name, i, cost, best.x, bounds[i]) for i, name in enumerate(names))
    return Optimum(found, prediction, given, coordinates, evaluation_count)


def _coordinate(
    name: str, index: int, cost: Callable[[Sequence[float]], float], best: Sequence[float], bounds: tuple[float, float]
) -> Coordinate:
    def falls_too_much(value: float) -> bool:
        return cost([*best[:index], value, *best[index + 1 :]]) > most

    # Where there is a key, the cost is minus the logarithm of the rate.
    most, flat = cost(best) - log(1 - FLAT), None
    if cost(best) < 0:
        flat = tuple(_outside(name, _edge(falls_too_much, best[index], bound)) for bound in bounds)
    return Coordinate(QUANTITY[name], *BOUNDS.get(name, OF_A_PART), _outside(name, best[index]), flat)


def _edge(is_beyond: Callable[[float], bool], inside: float, bound: float) -> float:
    """From `inside` towards `bound`, as far as it is not beyond."""
    if not is_beyond(bound):
        return bound
    beyond = bound
    for _ in range(30):
        middle = (inside + beyond) / 2
        inside, beyond = (inside, middle) if is_beyond(middle) else (middle, beyond)
    return inside


def _inside(name: str, value: float) -> float:
    """A quantity as the search has it, see `qkde.rates.optimum.point_of`."""
    return log(value) if name == "signal_intensity" else logit(value)


def _outside(name: str, value: float) -> float:
    return float(exp(value) if name == "signal_intensity" else probability_of(value))
