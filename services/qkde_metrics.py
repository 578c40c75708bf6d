"""What a QKDE counts: every round that ended here, from its report."""

from __future__ import annotations

from collections import deque
from math import nan
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

LINK = ["link"]
ROUNDS = Counter("qkd_rounds", "Rounds that ended, with a key or aborted.", [*LINK, "outcome"])
ABORTS = Counter("qkd_round_aborts", "Rounds that gave no key, by what ended them.", [*LINK, "reason"])
PULSES = Counter("qkd_pulses", "Pulses that were sent.", LINK)
BITS = Counter("qkd_bits", "Bits of all rounds at each stage; secret = refill + block.", [*LINK, "stage"])
SECONDS = Histogram("qkd_round_seconds", "How long rounds took.", LINK, buckets=[2.0**n for n in range(-2, 8)])
QBER = Gauge("qkd_qber_ratio", "Errors of all compared bits of the last round.", LINK, multiprocess_mode="mostrecent")
TESTED = Gauge(
    "qkd_qber_test_ratio", "Errors in the test basis of the last round.", LINK, multiprocess_mode="mostrecent"
)
TOLERANCE = Gauge(
    "qkd_qber_tolerance_ratio", "Above it in the test basis, a round is aborted.", LINK, multiprocess_mode="mostrecent"
)
PADS = Gauge("qkd_pad_bits_left", "Pad bits left to authenticate with.", LINK, multiprocess_mode="mostrecent")

# Stage -> member of the report.
STAGES = {
    "detected": "detected_pulses",
    "sifted": "sifted_bits",
    "sample": "sample_bits",
    "disclosed": "disclosed_bits",
    "authentication": "authentication_bits",
    "secret": "secret_bits",
    "refill": "refill_bits",
    "block": "block_bits",
}
CHECKS = ("authentication", "verification", "reconciliation")


class CountedReports(deque):
    """The newest reports of a QKDE; each is counted when it comes."""

    def append(self, report: dict[str, Any]) -> None:
        super().append(report)
        count(report)


def count(report: dict[str, Any]) -> None:
    link = report["link"]
    ROUNDS.labels(link, report["outcome"]).inc()
    if report["outcome"] != "key":
        ABORTS.labels(link, reason_of(report)).inc()
    PULSES.labels(link).inc(report["pulses"])
    for stage, member in STAGES.items():
        BITS.labels(link, stage).inc(report[member] or 0)
    SECONDS.labels(link).observe(report["elapsed_s"])
    for gauge, member in ((QBER, "qber"), (TESTED, "qber_test"), (PADS, "pad_bits_left")):
        gauge.labels(link).set(nan if report[member] is None else report[member])
    TOLERANCE.labels(link).set(report["parameters"]["qber_tolerance"])


def reason_of(report: dict[str, Any]) -> str:
    """What ended a round, as one of few words: its text is for people and has figures in it."""
    tested, text = report["qber_test"], report["abort_reason"] or ""
    if tested is not None and tested > report["parameters"]["qber_tolerance"]:
        return "qber"
    return next((check for check in CHECKS if f"{check} failed" in text), "other")
