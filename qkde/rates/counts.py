"""Counts by basis and intensity that are expected of a channel."""

from __future__ import annotations

from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.rates.channel import Channel


def expected_counts(
    channel: Channel, intensities: Intensities, pulses: float, basis_probability: float
) -> BasisCounts:
    """n_k = N·p²·p_k·Q_k and m_k = E_k·n_k: the counts of a basis that both ends choose with probability p."""
    sent = [pulses * basis_probability**2 * p for p in intensities.probabilities]
    clicks = [channel.coherent(mean) for mean in intensities.means]
    return BasisCounts(
        tuple(n * click.gain for n, click in zip(sent, clicks, strict=True)),
        tuple(n * click.error_gain for n, click in zip(sent, clicks, strict=True)),
    )


def average_clicks(channel: Channel, intensities: Intensities) -> tuple[float, float]:
    """Gain and error gain of a pulse of unknown intensity."""
    counts = expected_counts(channel, intensities, 1.0, 1.0)
    return counts.detected_count, counts.error_count
