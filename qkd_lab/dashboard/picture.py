"""From what the processes answer to what the page shows of one moment. Pure: no calls, no clock, no memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qkd_lab.topology import Link, Site, Topology

Json = dict[str, Any]
# From best to worst; the page gives each a colour, a shape and a word.
HEALTHS = ("ok", "stopped", "alarm", "down")

REPORTED = (
    "outcome", "abort_reason", "owner", "pulses", "detected_pulses", "sifted_bits", "sample_bits", "disclosed_bits",
    "secret_bits", "qber", "elapsed_s",
)  # fmt: skip


def round_row(report: Mapping[str, Any], record: Mapping[str, Any] | None) -> Json:
    """A round: what an end reported, and from the quantum link's `record` when it began and whether Eve was there.

    `eve` is ground truth, None where the link has forgotten the round.
    """
    physics = record["physics"] if record else None
    return {
        "id": report["block_id"],
        "link": report["link"],
        "began_at": record["began_at"] if record else None,
        **{name: report.get(name) for name in REPORTED},
        "threshold": threshold(report),
        "eve": physics["eve"] if physics else None,
    }


def threshold(report: Mapping[str, Any]) -> float | None:
    """The QBER above which a round is aborted, as its ends agreed on."""
    return (report.get("parameters") or {}).get("qber_tolerance")


def disclosed_share(round_: Mapping[str, Any]) -> float | None:
    """Which part of the sifted bits was told in public: the sample, and the parities of error correction."""
    sifted, disclosed = round_["sifted_bits"], round_["disclosed_bits"]
    return min(1.0, disclosed / sifted) if sifted and disclosed is not None else None


def site_picture(site: Site, topology: Topology, health: Mapping[str, str], status: Mapping[str, Any]) -> Json:
    names = [one for one in health if (owner := topology.site_of_process(one)) and owner.name == site.name]
    wrong = {name: health[name] for name in names if health[name] != "ok"}
    return {
        "name": site.name,
        "nickname": site.nickname,
        "kme": site.kme_id,
        "qkde": site.qkde_id if site.qkde_id in health else None,
        "saes": status.get("saes", list(site.saes)),
        "demo_saes": list(site.saes) if topology.demo_saes else [],
        "health": "down" if site.kme_id in wrong else "alarm" if wrong else "ok",
        "why": [f"{name}: {what}" for name, what in wrong.items()],
        "account": status.get("account") or {},
    }


def link_picture(
    link: Link,
    topology: Topology,
    health: Mapping[str, str],
    physics: Mapping[str, Any],
    stopped: bool,
    last: Mapping[str, Any] | None,
    statuses: Mapping[str, Mapping[str, Any]],
) -> Json:
    """`last` is its newest round; `statuses` are those of the KMEs, by name."""
    needed = [link.qlink_id, topology.site(link.alice).qkde_id, topology.site(link.bob).qkde_id]
    wrong = [f"{name}: {health[name]}" for name in needed if health.get(name, "ok") != "ok"]
    state, why = "ok", []
    if wrong:
        state, why = "down", wrong
    elif stopped:
        state, why = "stopped", ["an operator has stopped it: it makes no key"]
    elif last and last["outcome"] != "key":
        state, why = "alarm", [f"the last round gave no key: {last['abort_reason']}"]
    uncut = {
        name: sum(block["uncut_bits"] for one in status.get("links", []) if one["link"] == link.name
                  for block in one.get("blocks", []))
        for name, status in statuses.items()
    }  # fmt: skip
    return {
        "name": link.name,
        "alice": link.alice,
        "bob": link.bob,
        "quantum": link.is_quantum,
        "health": state,
        "why": why,
        "stopped": stopped,
        "eve": physics.get("eve", "none"),
        "physics": {name: value for name, value in physics.items() if name != "link"},
        "threshold": (last or {}).get("threshold") or (link.protocol.qber_tolerance if link.is_quantum else None),
        "uncut_bits": max(uncut.values(), default=0),
    }


def connection_pictures(
    statuses: Mapping[str, Mapping[str, Any]], topology: Topology, homes: Mapping[str, str]
) -> list[Json]:
    """Every connection, as its master's KME has it. `homes`: the site of each SAE."""
    return [
        {
            "id": pool["connection_id"],
            "master": pool["master_sae_id"],
            "slave": pool["slave_sae_id"],
            "from": status["site"],
            "to": homes.get(pool["slave_sae_id"]),
            "key_size_bits": pool["key_size_bits"],
            "level": pool["stored_key_count"],
            "low": pool["low_watermark"],
            "high": pool["high_watermark"],
        }
        for status in statuses.values()
        for pool in status.get("pools", [])
    ]
