"""`qkd-lab link rounds`: what came of a link's rounds, under which physics, and what Eve got of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from qkd_lab.cli.bb84_report import eve_knew, percent
from qkd_lab.lab_folder import LabFolder
from qkd_lab.link_rounds import rounds_of
from qkd_lab.operator_calls import Operator

UNRECORDED = "unknown: the quantum link has no record of it"


@click.command()
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="Of each link, the newest.")
@click.option("--json", "as_json", is_flag=True, help="An array of rounds.")
def rounds(name: str | None, count: int, as_json: bool) -> None:
    """What the ends of one link, or of all, reported of each round, its physics, and apart from that what Eve knows."""
    operator = Operator(LabFolder.here())
    found = []
    for link in [operator.link(name)] if name else operator.topology.links:
        of_link, unasked = rounds_of(operator, link, count)
        for why in unasked:
            click.echo(f"qkd-lab: not everything is shown: {why}", err=True)
        found += of_link
        if not as_json:
            click.echo("\n".join(as_text(link.name, of_link)))
    if as_json:
        click.echo(json.dumps(found, indent=2))


def as_text(link: str, found: list[dict[str, Any]]) -> Iterator[str]:
    """`found` is what `qkd_lab.link_rounds.rounds_of` gives."""
    if not found:
        yield f"{link}: no rounds yet"
        return
    yield f"{link}: {len(found)} rounds, the newest first, times in UTC"
    for row in found:
        began = (row["began_at"] or "time unknown")[:19].replace("T", " ")
        yield f"  {began:19}  {row['round_id'][:8]}  {_outcome(row)}"
        yield f"    {_physics(row['physics'])}"
    yield "Ground truth, which neither end can see:"
    for row in found:
        truth = row["ground_truth"]
        yield f"  {row['round_id'][:8]}  {eve_knew(truth) if truth else UNRECORDED}"


def _outcome(row: dict[str, Any]) -> str:
    if row["outcome"] is None:
        return f"no report (yet), {row['detected_pulses']:,} of {row['pulses']:,} pulses detected"
    if row["outcome"] != "key":
        return f"aborted, QBER {percent(row['qber'])}: {row['abort_reason']}"
    rate = row["secret_bits_per_simulated_s"]
    speed = "" if rate is None else f", {rate:,.0f} a simulated second"
    return f"key, QBER {percent(row['qber'])}, {row['secret_bits']:,} secret bits{speed}"


def _physics(physics: dict[str, Any] | None) -> str:
    if physics is None:
        return f"physics {UNRECORDED}"
    return ", ".join(f"{name} {value}" for name, value in physics.items())
