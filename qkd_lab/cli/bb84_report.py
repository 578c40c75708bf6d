"""A simulated round's report as text for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_text(result: Mapping[str, Any]) -> str:
    """`result` is what `qkde.simulation.RoundResult.to_json` gives."""
    return "\n".join([*_outcome(result), "", *_account(result), *_intensities(result), "", *_truth(result)])


def _outcome(result: Mapping[str, Any]) -> list[str]:
    if result["aborted"]:
        first = f"No key: {result['abort_reason']}."
    else:
        first = f"{result['secret_bits']:,} secret bits, {result['secret_bits_per_pulse']:.3g} per pulse."
    seed = "randomness of the operating system"
    if result["seed"] is not None:
        seed = f"seed {result['seed']}, so nothing of it is secret"
    return [first, f"{result['elapsed_s']:.2f} s, mode {result['parameters']['mode']}, {seed}."]


def _account(result: Mapping[str, Any]) -> list[str]:
    low_high = result["qber_interval"]
    interval = f"  (95 %: {percent(low_high[0])} to {percent(low_high[1])})" if low_high else ""
    efficiency = result["reconciliation_efficiency"]
    efficiency = f", f {efficiency:.3f}" if efficiency else ""
    parameters = result["parameters"]
    rows = [
        ("pulses", f"{result['pulses']:,} in {_seconds(result['simulated_s'])} of simulated time"),
        ("detected", f"{result['detected_pulses']:,}"),
        ("sifted", f"{result['sifted_bits']:,} bits; the {result['sample_bits']:,} of the test basis are the sample"),
        ("QBER", percent(result["qber"]) + interval),
        ("  test basis", f"{percent(result['qber_test'])}, tolerance {percent(parameters['qber_tolerance'])}"),
        ("  key basis", percent(result["qber_key"])),
        ("phase error bound", f"{percent(result['phase_error_bound'])}; {parameters['proof']}"),
        ("reconciliation", f"{parameters['reconciliation']}: {result['leak_alice']:,} parities of Alice's "
                           f"({result['leak_both']:,} with Bob's){efficiency}, "
                           f"{result['reconciliation_messages']} messages"),
        ("disclosed", f"{result['disclosed_bits']:,} bits: sample, parities, verification"),
        ("secret", f"{result['secret_bits']:,} bits, {result['secret_bits_per_simulated_s']:,.0f} a simulated second"),
        ("link", ", ".join(f"{name} {parameters[name]}" for name in LINK if name in parameters)),
    ]  # fmt: skip
    return [f"{name:18} {value}" for name, value in rows]


LINK = ("source", "loss_db", "distance_km", "attenuation_db_per_km", "misalignment", "depolarizing", "noise",
        "detector_efficiency", "dark_count_probability", "dead_time_s", "afterpulse_probability", "eve")  # fmt: skip


def _intensities(result: Mapping[str, Any]) -> list[str]:
    if not result["intensities"]:
        return []
    head = f"{'':8} {'mean':>6} {'pulses':>12} {'gain':>10} {'theory':>10} {'QBER key':>9} {'test':>9} {'theory':>9}"
    return ["", head] + [
        f"{row['name']:8} {row['intensity']:6g} {row['pulses']:12,} {_gain(row['gain']):>10} "
        f"{_gain(row['gain_expected']):>10} {percent(row['qber_key']):>9} {percent(row['qber_test']):>9} "
        f"{percent(row['qber_key_expected']):>9}"
        for row in result["intensities"]
    ]


def _truth(result: Mapping[str, Any]) -> list[str]:
    return ["Ground truth, which neither end can see:", f"  {eve_knew(result['ground_truth'])}"]


def eve_knew(truth: Mapping[str, Any]) -> str:
    """`truth` is what `qkde.ground_truth.GroundTruth.to_json` gives. Nothing of a final key where none is known."""
    within = {True: ", within what the proof allows", False: ", MORE THAN THE PROOF ALLOWS", None: ""}
    known = truth["eve_information_bits"]
    final = "" if known is None else f"; of the final key at most {known:.3g} bits"
    return (
        f"Eve knew {truth['eve_sifted_information_bits']:,.0f} of {truth['key_bits']:,} key bits before amplification"
        f"{within[truth['within_proof_bound']]}{final}."
    )


def percent(rate: float | None) -> str:
    return "undefined" if rate is None else f"{rate:.3%}"


def _gain(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:.3e}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds * 1e3:.3g} ms"
