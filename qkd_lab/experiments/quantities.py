"""What stands at an axis: the name of a quantity and its unit."""

from __future__ import annotations

LABELS = {
    "distance_km": "distance (km)",
    "depolarizing": "depolarizing probability p",
    "eve_fraction": "part of the pulses that Eve measures",
    "qber_tolerance": "QBER tolerance",
    "pulses": "pulses of a round",
    "block_size_bits": "block size (sifted bits of the key basis)",
    "frame_bits": "frame bits",
    "reconciliation": "variant",
    "qber": "QBER",
    "qber_test": "QBER in the test basis",
    "qber_key": "QBER in the key basis",
    "signal_qber_key": "QBER of signal pulses, key basis",
    "gain": "gain (clicks per pulse)",
    "signal_gain": "gain of signal pulses (clicks per pulse)",
    "secret_bits_per_pulse": "secret-key rate (bit/pulse)",
    "secret_bits_per_second": "secret-key rate (bit/s)",
    "gllp_rate": "GLLP at the counts",
    "vacuum_weak_rate": "vacuum + weak decoy at the counts",
    "ideal_rate": "single photons at the counts",
    "reconciliation_efficiency": "efficiency f (told bits over n·h(Q))",
    "reconciliation_messages": "messages of a frame",
    "eve_information_per_key_bit": "what Eve knows of a key bit (bit)",
    "signal_intensity": "signal intensity µ (photons/pulse)",
}
UNITS = {"_km": "km", "_db": "dB", "_hz": "Hz", "_bits": "bits", "_s": "s", "_intensity": "photons/pulse"}


def label(name: str) -> str:
    """In words, with the unit where there is one."""
    if name in LABELS:
        return LABELS[name]
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")
