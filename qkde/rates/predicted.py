"""What theory expects of a parameter set, model by model: the curve to put a simulation beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, log2

from qkde.bb84.decoy_counts import Intensities
from qkde.bb84.decoy_statistics import ProvenLength, correctness_bits
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.finite_key import binary_entropy, phase_error_bound, secret_length
from qkde.bb84.one_decoy import PROOFS, one_decoy_length
from qkde.bb84.ranges import check_open, check_range
from qkde.bb84.two_decoy import two_decoy_length
from qkde.parameter_sets import ParameterSet
from qkde.rates.asymptotic import SinglePhotons, decoy_rate, gllp_rate, single_photon_rate, vacuum_weak_bounds
from qkde.rates.channel import Channel, Clicks, live_fraction
from qkde.rates.counts import average_clicks, expected_counts


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a prediction needs beyond the link. Raises InvalidParameter.

    block_size_bits: sifted bits of the key basis. qber: in place of a channel, where every pulse clicks.
    sifting: q; by default p² + (1 − p)² where either basis makes key. detection: see `channel`. proof: of one decoy.
    """

    block_size_bits: float = 1e6
    epsilon_secrecy: float = 1e-10
    epsilon_correctness: float = 1e-15
    qber: float | None = None
    sifting: float | None = None
    detection: str = "first-order"
    proof: str = PROOFS[0]

    def __post_init__(self) -> None:
        check_range("block_size_bits", self.block_size_bits, 1, 1e15)
        check_open("epsilon_secrecy", self.epsilon_secrecy, 1e-100, 1)
        check_open("epsilon_correctness", self.epsilon_correctness, 1e-100, 1)
        if self.qber is not None:
            check_range("qber", self.qber, 0, 0.5)
        if self.sifting is not None:
            check_range("sifting", self.sifting, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One point of a curve.

    gain, qber: of signal pulses; with finite decoys of all pulses, since all make key. surplus_bits_per_pulse: the rate
    before it is cut off at 0. pulses: sent for one block. phase_error_bound, single_photon_*: what the model takes.
    """

    gain: float
    qber: float | None
    surplus_bits_per_pulse: float
    live_fraction: float
    block_size_bits: float | None = None
    pulses: float | None = None
    secret_bits: int | None = None
    phase_error_bound: float | None = None
    single_photon_yield: float | None = None
    single_photon_error_rate: float | None = None

    @property
    def secret_bits_per_pulse(self) -> float:
        return max(0.0, self.surplus_bits_per_pulse)


def predict(model: str, link: ParameterSet, assumptions: Assumptions) -> Prediction:
    """The model's expectation of a link. Raises InvalidParameter."""
    if model not in MODELS:
        raise InvalidParameter(f"model is {model!r}: expected one of {', '.join(MODELS)}")
    if assumptions.qber is not None and model not in QBER_MODELS:
        raise InvalidParameter(
            f"model {model} computes the QBER from a distance: qber is for {' and '.join(QBER_MODELS)} only"
        )
    return MODELS[model](link, assumptions)


def _ideal(link: ParameterSet, assumed: Assumptions) -> Prediction:
    clicks = _single_photons(link, assumed)
    rate = single_photon_rate(clicks.gain, clicks.qber or 0, **_common(link, assumed))
    return _point(link, clicks, rate)


def _gllp(link: ParameterSet, assumed: Assumptions) -> Prediction:
    clicks = Channel.of(link, assumed.detection).coherent(link.signal_intensity)
    rate = gllp_rate(clicks.gain, clicks.qber or 0, link.signal_intensity, **_common(link, assumed))
    return _point(link, clicks, rate)


def _decoy(link: ParameterSet, assumed: Assumptions) -> Prediction:
    single = Channel.of(link, assumed.detection).photons(1)
    return _with_decoys(link, assumed, SinglePhotons(single.gain, 0.5 if single.qber is None else single.qber))


def _vacuum_weak(link: ParameterSet, assumed: Assumptions) -> Prediction:
    if link.vacuum_intensity != 0:
        raise InvalidParameter(f"vacuum_intensity is {link.vacuum_intensity:g}: expected 0 in the model vacuum-weak")
    channel = Channel.of(link, assumed.detection)
    decoy = channel.coherent(link.decoy_intensity)
    bounds = vacuum_weak_bounds(
        signal_intensity=link.signal_intensity,
        decoy_intensity=link.decoy_intensity,
        signal_gain=channel.coherent(link.signal_intensity).gain,
        decoy_gain=decoy.gain,
        decoy_qber=decoy.qber or 0,
        vacuum_gain=channel.coherent(0).gain,
    )
    return _with_decoys(link, assumed, bounds)


def _with_decoys(link: ParameterSet, assumed: Assumptions, single: SinglePhotons) -> Prediction:
    clicks = Channel.of(link, assumed.detection).coherent(link.signal_intensity)
    rate = decoy_rate(clicks.gain, clicks.qber or 0, link.signal_intensity, single, **_common(link, assumed))
    return _point(link, clicks, rate, single_photon_yield=single.yield_, single_photon_error_rate=single.error_rate)


def _finite(link: ParameterSet, assumed: Assumptions) -> Prediction:
    """The tolerance is the expected QBER: a real one lies above, or every other round would abort."""
    clicks = _single_photons(link, assumed)
    bits, p = assumed.block_size_bits, link.key_basis_probability
    if not clicks.gain:
        return _point(link, clicks, 0.0)
    sample_bits = bits * (1 - p) ** 2 / p**2
    length = secret_length(
        bits,
        sample_bits,
        qber_tolerance=clicks.qber,
        leak_bits=link.error_correction_efficiency * bits * binary_entropy(clicks.qber),
        epsilon_secrecy=assumed.epsilon_secrecy,
        correctness_bits=-log2(assumed.epsilon_correctness),
    )
    bound = phase_error_bound(bits, sample_bits, clicks.qber, assumed.epsilon_secrecy)
    pulses = bits / (p**2 * clicks.gain)
    return _point(
        link,
        clicks,
        length / pulses,
        block_size_bits=bits,
        pulses=pulses,
        secret_bits=max(0, floor(length)),
        phase_error_bound=bound,
    )


def _finite_two_decoy(link: ParameterSet, assumed: Assumptions) -> Prediction:
    intensities = Intensities(
        (link.signal_intensity, link.decoy_intensity, link.vacuum_intensity),
        (link.signal_probability, link.decoy_probability, link.vacuum_probability),
    )
    return _finite_decoys(link, assumed, intensities, two_decoy_length)


def _finite_one_decoy(link: ParameterSet, assumed: Assumptions) -> Prediction:
    """Signal and decoy as often, one to the other, as the set has them; no vacuum."""
    sent = link.signal_probability + link.decoy_probability
    intensities = Intensities(
        (link.signal_intensity, link.decoy_intensity),
        (link.signal_probability / sent, link.decoy_probability / sent),
    )
    return _finite_decoys(link, assumed, intensities, one_decoy_length, proof=assumed.proof)


def _finite_decoys(
    link: ParameterSet,
    assumed: Assumptions,
    intensities: Intensities,
    length_of: Callable[..., ProvenLength],
    **options: str,
) -> Prediction:
    channel = Channel.of(link, assumed.detection)
    clicks = Clicks(*average_clicks(channel, intensities))
    if not clicks.gain:
        return _point(link, clicks, 0.0)
    p = link.key_basis_probability
    pulses = assumed.block_size_bits / (p**2 * clicks.gain)
    found = length_of(
        expected_counts(channel, intensities, pulses, p),
        expected_counts(channel, intensities, pulses, 1 - p),
        intensities,
        leak_bits=link.error_correction_efficiency * assumed.block_size_bits * binary_entropy(clicks.qber),
        epsilon_secrecy=assumed.epsilon_secrecy,
        correctness_bits=correctness_bits(assumed.epsilon_correctness),
        **options,
    )
    return _point(
        link,
        clicks,
        found.length_bits / pulses,
        block_size_bits=assumed.block_size_bits,
        pulses=pulses,
        secret_bits=found.secret_bits,
        phase_error_bound=found.phase_error_bound,
    )


def _single_photons(link: ParameterSet, assumed: Assumptions) -> Clicks:
    return Clicks(1.0, assumed.qber) if assumed.qber is not None else Channel.of(link, assumed.detection).photons(1)


def _common(link: ParameterSet, assumed: Assumptions) -> dict[str, float]:
    p = link.key_basis_probability
    sifting = p**2 + (1 - p) ** 2 if assumed.sifting is None else assumed.sifting
    return {"efficiency": link.error_correction_efficiency, "sifting": sifting}


def _point(link: ParameterSet, clicks: Clicks, rate: float, **found: float | None) -> Prediction:
    live = live_fraction(clicks.gain, link.repetition_rate_hz, link.dead_time_s)
    return Prediction(
        gain=clicks.gain, qber=clicks.qber, surplus_bits_per_pulse=rate, live_fraction=live, **found
    )


MODELS: dict[str, Callable[[ParameterSet, Assumptions], Prediction]] = {
    "ideal": _ideal,
    "gllp": _gllp,
    "decoy": _decoy,
    "vacuum-weak": _vacuum_weak,
    "finite": _finite,
    "finite-two-decoy": _finite_two_decoy,
    "finite-one-decoy": _finite_one_decoy,
}
QBER_MODELS = ("ideal", "finite")
FINITE_MODELS = ("finite", "finite-two-decoy", "finite-one-decoy")
