"""`qkd-lab kek`: the keys under which the KMEs encrypt what they store."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator

_LOOK_EVERY_S = 1.0


@click.group()
def kek() -> None:
    """Key-encryption keys: encryption at rest in each KME's Redis."""


@kek.command()
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def show(as_json: bool) -> None:
    """The fingerprint of each KME's, and how far a rotation is."""
    operator = Operator(LabFolder.here())
    found = {site.kme_id: operator.call(site.kme_id, "GET", "/v1/kek") for site in operator.topology.sites}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for kme_id, one in found.items():
        click.echo(f"{kme_id}: {_line(one)}")


@kek.command()
@click.argument("kme", required=False)
@click.option("--wait-s", default=120.0, show_default=True, help="For how long to wait until the old one is destroyed.")
def rotate(kme: str | None, wait_s: float) -> None:
    """Give KME, or every KME, a new key-encryption key while it goes on serving.

    Everything stored is wrapped anew, then the old key is destroyed.
    """
    operator = Operator(LabFolder.here())
    known = [site.kme_id for site in operator.topology.sites]
    if kme is not None and kme not in known:
        raise click.BadParameter(f"no KME {kme!r} in this lab: it has {', '.join(known)}", param_hint="KME")
    chosen = known if kme is None else [kme]
    for kme_id in chosen:
        click.echo(f"{kme_id}: {_line(operator.call(kme_id, 'POST', '/v1/kek/rotation'))}")
    ends = time.monotonic() + wait_s
    for kme_id in chosen:
        while (one := operator.call(kme_id, "GET", "/v1/kek"))["retired"]:
            if time.monotonic() >= ends:
                raise LabError(f"{kme_id} is still at it: {_line(one)}; it goes on by itself, `qkd-lab kek show` tells")
            time.sleep(_LOOK_EVERY_S)
        click.echo(f"{kme_id}: {_line(one)}")


def _line(one: dict[str, Any]) -> str:
    said = f"{one['fingerprint']}, kept in a {'hardware token' if one['kept_in'] == 'pkcs11' else 'file'}"
    if one["retired"]:
        return f"{said}; {one['rewrapped_count']} values wrapped anew, {', '.join(one['retired'])} is being replaced"
    return f"{said}; everything stored is wrapped under it"
