"""`qkd-lab audit`: read the KMEs' audit trails, and verify that nothing was removed or changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import click

from qkd_lab.lab_folder import LabFolder
from qkd_lab.operator_calls import Operator

PAGE = 500


@click.group()
def audit() -> None:
    """The audit trail: every delivery, refusal, registration, rotation and destruction, chained row by row."""


def moment(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """A time without a zone is a local one."""
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given).astimezone(UTC).isoformat()
    except ValueError:
        raise click.BadParameter(f"{given!r}: expected a time as 2026-01-31 or 2026-01-31T12:00:00+00:00") from None


@audit.command()
@click.option("--kme", help="One KME; by default all.")
@click.option("--event", help="One kind of event, for example keys_delivered.")
@click.option("--since", callback=moment, metavar="TIME", help="What happened at that time or later.")
@click.option("--json", "as_json", is_flag=True, help="For a program: a JSON object a line.")
def show(kme: str | None, event: str | None, since: str | None, as_json: bool) -> None:
    """What happened, oldest first."""
    operator = Operator(LabFolder.here())
    filters = {name: value for name, value in (("event", event), ("since", since)) if value}
    for kme_id in _kmes(operator, kme):
        for row in _rows(operator, kme_id, filters):
            click.echo(json.dumps({"kme_id": kme_id} | row) if as_json else _line(kme_id, row))


@audit.command()
@click.option("--kme", help="One KME; by default all.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def verify(kme: str | None, as_json: bool) -> None:
    """Check every row against the chain; exit 1 where one was removed, changed, inserted or moved.

    Where a database was restored, and its KME has begun a new epoch for that, it is said and is no failure.
    """
    operator = Operator(LabFolder.here())
    found = {kme_id: _verified(operator, kme_id) for kme_id in _kmes(operator, kme)}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for kme_id, one in found.items():
            for finding in sorted(one["findings"] + one["restored"], key=lambda found: found["audit_id"]):
                click.echo(f"{kme_id}: row {finding['audit_id']}: {finding['what']}")
            end = f"row {one['end']['audit_id']}, {one['end']['chain'][:16]}"
            said = f"{len(one['findings'])} findings" if one["findings"] else "nothing removed, changed or inserted"
            click.echo(f"{kme_id}: {one['row_count']} rows, {said}; the trail ends with {end}")
    if any(one["findings"] for one in found.values()):
        raise click.exceptions.Exit(1)


def _kmes(operator: Operator, kme: str | None) -> list[str]:
    known = [site.kme_id for site in operator.topology.sites]
    if kme is None:
        return known
    if kme not in known:
        raise click.BadParameter(f"no KME {kme!r} in this lab: it has {', '.join(known)}", param_hint="--kme")
    return [kme]


def _rows(operator: Operator, kme_id: str, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        query = urlencode({"after": after, "count": PAGE, **filters})
        page = operator.call(kme_id, "GET", f"/v1/audit?{query}")
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]["audit_id"]


def _verified(operator: Operator, kme_id: str) -> dict[str, Any]:
    whole: dict[str, Any] = {"row_count": 0, "findings": [], "restored": []}
    after = 0
    while True:
        page = operator.call(kme_id, "GET", f"/v1/audit/verification?after={after}&count={PAGE}", timeout_s=60.0)
        whole["row_count"] += page["row_count"]
        whole["findings"] += page["findings"]
        whole["restored"] += page["restored"]
        if page["complete"]:
            return whole | {"end": page["end"]}
        after = page["last"]


def _line(kme_id: str, row: dict[str, Any]) -> str:
    detail = dict(row["detail"])
    if keys := detail.pop("key_ids", None):
        detail["keys"] = keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
    said = " ".join(f"{name}={value}" for name, value in sorted(detail.items()) if value not in (None, ""))
    return f"{kme_id} {row['audit_id']:>6} {row['at'][:23]} {row['event']:<22} {said}".rstrip()
