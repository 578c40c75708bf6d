"""The intensities and probabilities with which a link gives most key: published curves have them at each distance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import exp, log

from qkde.bb84.errors import InvalidParameter
from qkde.parameter_sets import InvalidParameterSet, ParameterSet
from qkde.rates.predicted import Assumptions, Prediction, predict

# What each model may choose. A weak decoy of the asymptotic models has no optimum: the weaker, the better.
CHOSEN = {
    "ideal": (),
    "gllp": ("signal_intensity",),
    "decoy": ("signal_intensity",),
    "vacuum-weak": ("signal_intensity",),
    "finite": ("key_basis_probability",),
    "finite-two-decoy": (
        "signal_intensity",
        "decoy_intensity",
        "signal_probability",
        "decoy_probability",
        "key_basis_probability",
    ),
    "finite-one-decoy": ("signal_intensity", "decoy_intensity", "signal_probability", "key_basis_probability"),
}
IMPOSSIBLE = 1e9


def optimised(
    model: str, link: ParameterSet, assumptions: Assumptions, *, start: ParameterSet | None = None
) -> ParameterSet:
    """The link with what the model may choose at its best: a coarse grid, then Nelder and Mead from its best points.

    `start`: the optimum of a neighbouring point, if known. Raises InvalidParameter.
    """
    predict(model, link, assumptions)  # its errors, before a search that would swallow them
    if not CHOSEN[model]:
        return link
    from scipy.optimize import minimize  # not in every image that has the formulas

    def cost(point: Sequence[float]) -> float:
        return cost_at(model, link, assumptions, point)

    starts = sorted(_grid(model, link), key=cost)[:2] + [point_of(model, start or link)]
    search = {"method": "Nelder-Mead", "options": {"maxiter": 2000, "xatol": 1e-6, "fatol": 1e-9}}
    found = [minimize(cost, point, **search) for point in starts]
    best = min(found, key=lambda result: result.fun)
    best = minimize(cost, best.x, **search)  # a fresh simplex, where the first has collapsed
    return link_at(model, link, best.x)


def cost_at(model: str, link: ParameterSet, assumptions: Assumptions, point: Sequence[float]) -> float:
    """What a search makes as small as it can; IMPOSSIBLE where there is no such link."""
    try:
        return _cost(predict(model, link_at(model, link, point), assumptions))
    except (InvalidParameterSet, InvalidParameter, ArithmeticError):
        return IMPOSSIBLE


def _cost(found: Prediction) -> float:
    """Falls with the rate. Where there is no key, with what is missing for each click: not sending is no way out."""
    if found.surplus_bits_per_pulse > 0:
        return -log(found.surplus_bits_per_pulse * 1e100)
    clicks_kept = found.gain if found.pulses is None else found.block_size_bits / found.pulses
    return -found.surplus_bits_per_pulse / clicks_kept if clicks_kept > 0 else IMPOSSIBLE


def _grid(model: str, link: ParameterSet) -> list[list[float]]:
    # Without decoys the best intensity is about the transmittance.
    axes = {
        "signal_intensity": [log(mean) for mean in (0.3, 0.6, link.transmittance, link.transmittance / 3)],
        "decoy_intensity": [logit(ratio) for ratio in (0.1, 0.25, 0.5)],
        "signal_probability": [logit(p) for p in (0.1, 0.4, 0.8)],
        "decoy_probability": [logit(p) for p in (0.6, 0.9)],
        "key_basis_probability": [logit(p) for p in (0.5, 0.7, 0.9, 0.97)],
    }
    return [list(point) for point in product(*(axes[name] for name in CHOSEN[model]))]


def point_of(model: str, link: ParameterSet) -> list[float]:
    """Coordinates without borders: logarithms of intensities, logits of ratios and probabilities."""
    sent = link.signal_probability + link.decoy_probability
    coordinates = {
        "signal_intensity": log(link.signal_intensity),
        "decoy_intensity": logit(link.decoy_intensity / link.signal_intensity),
        "signal_probability": logit(link.signal_probability / sent),
        "decoy_probability": logit(sent),
        "key_basis_probability": logit(link.key_basis_probability),
    }
    return [coordinates[name] for name in CHOSEN[model]]


def link_at(model: str, link: ParameterSet, point: Sequence[float]) -> ParameterSet:
    """The link at a point, see `point_of`. Raises InvalidParameterSet."""
    at = dict(zip(CHOSEN[model], map(float, point), strict=True))
    values: dict[str, float] = {}
    if "signal_intensity" in at:
        values["signal_intensity"] = exp(at["signal_intensity"])
        # A set has its decoys below the signal even where the model has none.
        if model in ("gllp", "decoy"):
            values["decoy_intensity"] = min(link.decoy_intensity, values["signal_intensity"] / 2)
            values["vacuum_intensity"] = min(link.vacuum_intensity, values["decoy_intensity"] / 2)
    if "decoy_intensity" in at:
        values["decoy_intensity"] = values["signal_intensity"] * probability_of(at["decoy_intensity"])
    if "signal_probability" in at:
        # Two decoys: how often anything but vacuum, and signal's part of it. One decoy: no vacuum is sent.
        sent = probability_of(at["decoy_probability"]) if "decoy_probability" in at else 1.0
        signal = sent * probability_of(at["signal_probability"])
        values |= {"signal_probability": signal, "decoy_probability": sent - signal, "vacuum_probability": 1 - sent}
    if "key_basis_probability" in at:
        values["key_basis_probability"] = probability_of(at["key_basis_probability"])
    return link.changed(**values)


def logit(probability: float) -> float:
    inside = min(1 - 1e-9, max(1e-9, probability))
    return log(inside / (1 - inside))


def probability_of(logit: float) -> float:
    return 1 / (1 + exp(-logit))
