"""What theory expects of a simulated round, from its own settings: gains, error rates, length of the key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from qkde.bb84.errors import InvalidParameter, RoundFailed
from qkde.bb84.finite_key import binary_entropy
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.proofs import RoundCounts, amplified_bits, proven_length
from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS
from qkde.link.eve import NoEve
from qkde.link.eve_intercept_resend import InterceptResend
from qkde.link.physics import LinkPhysics
from qkde.link.source import SinglePhotons, Source, WeakCoherentPulses
from qkde.link.tap import Attack
from qkde.link.theory import Expected, expected

OWN_BASES = {"random": None, "z": KEY_BASIS, "x": TEST_BASIS}


@dataclass(frozen=True)
class ExpectedRound:
    """Probabilities per pulse and fractions, as a simulated round has them; `by_light` those of each intensity.

    `secret_bits_per_pulse` is the proof's length at the expected counts, with `efficiency` times the Shannon limit told
    in reconciliation; 0 where the expected QBER is over the tolerance.
    """

    gain: float
    qber_key: float | None
    qber_test: float | None
    secret_bits_per_pulse: float
    by_light: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        by_light = plain.pop("by_light")
        return plain | by_light


def expected_round(
    parameters: RoundParameters, physics: LinkPhysics, source: Source, efficiency: float
) -> ExpectedRound:
    """Nobody listens, or Eve intercepts and resends single photons. Raises InvalidParameter for other attacks."""
    parameters = replace(parameters, **source.round_settings())
    key, test = (
        expected(physics, source, basis, _flipped_by_eve(physics.eve, source, basis))
        for basis in (KEY_BASIS, TEST_BASIS)
    )
    if isinstance(source, WeakCoherentPulses):
        at = [source.intensities.index(mean) for _, mean, _ in source.sent]
        names, weights = [name for name, _, _ in source.sent], [probability for _, _, probability in source.sent]
        key, test = ([rates[index] for index in at] for rates in (key, test))
    else:
        names, weights = [], [1.0]
    by_light: dict[str, float | None] = {}
    for name, in_key, in_test in zip(names, key, test, strict=False):
        by_light |= {
            f"{name}_gain": in_key.gain,
            f"{name}_qber_key": in_key.error_rate,
            f"{name}_qber_test": in_test.error_rate,
        }
    gain = sum(weight * rate.gain for weight, rate in zip(weights, key, strict=True))
    return ExpectedRound(
        gain,
        _error_rate(weights, key),
        _error_rate(weights, test),
        _secret_bits(parameters, weights, key, test, efficiency) / parameters.pulses,
        by_light,
    )


def _flipped_by_eve(eve: Attack, source: Source, basis: int) -> float:
    """That Eve's measurement makes Bob find the other bit: half of the time where her basis is not that of the bit."""
    if isinstance(eve, NoEve):
        return 0.0
    # A state between the bases would be turned by a misalignment as well, so that their errors do not just add up.
    if not (isinstance(eve, InterceptResend) and eve.basis in OWN_BASES and isinstance(source, SinglePhotons)):
        raise InvalidParameter(
            f"no theory for eve {eve} with {source.name} pulses: expected none, or intercept-resend of single photons "
            f"in basis {', '.join(OWN_BASES)}"
        )
    return 0.0 if OWN_BASES[eve.basis] == basis else eve.fraction / (4 if eve.basis == "random" else 2)


def _error_rate(weights: list[float], rates: list[Expected]) -> float | None:
    clicks = sum(weight * rate.gain for weight, rate in zip(weights, rates, strict=True))
    if not clicks:
        return None
    wrong = sum(weight * rate.gain * (rate.error_rate or 0) for weight, rate in zip(weights, rates, strict=True))
    return wrong / clicks


def _secret_bits(
    parameters: RoundParameters, weights: list[float], key: list[Expected], test: list[Expected], efficiency: float
) -> int:
    def counts(rates: list[Expected], probability: float) -> tuple[list[float], list[float]]:
        detected = [
            parameters.pulses * probability**2 * weight * rate.gain for weight, rate in zip(weights, rates, strict=True)
        ]
        return detected, [n * (rate.error_rate or 0) for n, rate in zip(detected, rates, strict=True)]

    p = parameters.key_basis_probability
    (key_detected, key_errors), (test_detected, test_errors) = counts(key, p), counts(test, 1 - p)
    if not sum(key_detected) or not sum(test_detected):
        return 0
    if sum(test_errors) / sum(test_detected) > parameters.qber_tolerance:
        return 0
    leak = efficiency * sum(key_detected) * binary_entropy(sum(key_errors) / sum(key_detected))
    found = RoundCounts(tuple(key_detected), tuple(test_detected), tuple(key_errors), tuple(test_errors))
    counted = 2 * leak if parameters.leak_counted == "both" else leak
    try:
        return amplified_bits(parameters, proven_length(parameters, found, counted))
    except RoundFailed:
        return 0
