"""What `qkd-lab sae` and `qkd-lab connection` have in common: asking all KMEs, and saying what they answer."""

from __future__ import annotations

import json
from typing import Any

import click

from qkd_lab.cli.register import QOS_MEMBERS
from qkd_lab.operator_calls import Operator

as_json = click.option("--json", "as_json", is_flag=True, help="For a program.")


def of_all_kmes(operator: Operator, path: str) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(site.kme_id, operator.call(site.kme_id, "GET", path)) for site in operator.topology.sites]


def show_answer(found: Any, as_json: bool, line: Any) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found if isinstance(found, list) else [found]:
        click.echo(line(one))


def connection_line(one: dict[str, Any]) -> str:
    qos = [f"{name} {one[name]}" for name in QOS_MEMBERS if name in one]
    parts = [
        f"{one['master_SAE_ID']} → {one['slave_SAE_ID']} ({one['source_KME_ID']} → {one['target_KME_ID']})",
        f"{one['stored_key_count']} of {one['max_keys_count']} keys of {one['key_size']} bits",
        f"{one['max_key_per_request']} per request",
        *qos,
        "suspended" if one["suspended"] else "",
        "" if _is_told(one) else f"{one['peer']['kme_id']} will be told when it can be reached",
    ]
    return ", ".join(part for part in parts if part)


def _is_told(one: dict[str, Any]) -> bool:
    peer = one.get("peer")
    return peer is None or peer["told"]


def removed_line(one: dict[str, Any]) -> str:
    here, peer = one["destroyed_key_count"], one["peer"]
    said = "its keys will be destroyed when the store answers" if here is None else f"{here} keys destroyed"
    if peer is not None:
        there = peer["destroyed_key_count"]
        said += (
            f", {there} at {peer['kme_id']}" if peer["told"] else f"; {peer['kme_id']} follows when it can be reached"
        )
    return f"{one['master_SAE_ID']} → {one['slave_SAE_ID']} is removed: {said}"
