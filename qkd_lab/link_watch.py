"""What is seen of a link while it runs: its physics, the newest round, the pools of its two KMEs, and who is away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qkd_lab.lab_folder import LabError
from qkd_lab.link_switch import is_stopped
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link

Json = dict[str, Any]

TIMEOUT_S = 3.0
COUNTERS = ("link", "frames_measured", "pulses_measured", "pulses_per_second")
OF_A_POOL = ("master_sae_id", "slave_sae_id", "stored_key_count", "low_watermark", "high_watermark")


def look(operator: Operator, link: Link) -> Json:
    """`{"link", "stopped", "physics", "round", "pools", "away"}`. A process that does not answer is in `away`, with
    what is wrong; what only it knows is None, or missing of the pools. `round` is None before the first as well.
    """
    bob, alice = (operator.topology.site(site) for site in (link.bob, link.alice))
    questions = {link.qlink_id: "/v1/physics"}
    questions |= {site.qkde_id: f"/v1/reports?link={link.name}&count=1" for site in (bob, alice)}
    questions |= {site.kme_id: "/v1/status" for site in (alice, bob)}
    away: dict[str, str] = {}

    def ask(process: str) -> Any:
        try:
            return operator.call(process, "GET", questions[process], timeout_s=TIMEOUT_S)
        except LabError as error:
            away[process] = str(error)
            return None

    with ThreadPoolExecutor(len(questions) + 1) as pool:
        stopped = pool.submit(is_stopped, operator, link)
        told = dict(zip(questions, pool.map(ask, questions), strict=True))
    physics = told[link.qlink_id]
    # Bob leads every round and is the first to know its end.
    reports = told[bob.qkde_id] or told[alice.qkde_id] or [None]
    statuses = [told[site.kme_id] or {} for site in (alice, bob)]
    return {
        "link": link.name,
        "stopped": stopped.result(),
        "physics": physics and {name: value for name, value in physics.items() if name not in COUNTERS},
        "round": reports[0] and _round(reports[0]),
        "pools": [{name: one[name] for name in OF_A_POOL} for status in statuses for one in status.get("pools", [])],
        "away": {process: away[process] for process in questions if process in away},
    }


def _round(report: Json) -> Json:
    """Rates are over the time that the round took. `qber_tolerance`: above it, in the test basis, a round aborts."""
    elapsed_s = report["elapsed_s"]
    return {
        **{name: report[name] for name in ("block_id", "outcome", "abort_reason", "qber", "qber_test")},
        "qber_tolerance": report["parameters"]["qber_tolerance"],
        "sifted_bits_per_s": report["sifted_bits"] / elapsed_s if elapsed_s else None,
        "secret_bits_per_s": report["secret_bits"] / elapsed_s if elapsed_s else None,
    }


def changes(views: Iterator[Json]) -> Iterator[Json]:
    """The first view, and each that differs from the one before."""
    last = None
    for view in views:
        if view != last:
            yield view
        last = view
