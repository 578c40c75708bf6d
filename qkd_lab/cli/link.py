"""`qkd-lab link show`, `link set` and `link rekey`: a link's physics and Eve, while it runs, and a way out for it."""

from __future__ import annotations

from typing import Any

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.secrets import renew_pre_shared_key


@click.group()
def link() -> None:
    """The physics of a quantum link, and Eve, while it runs; its pre-shared key."""


@link.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one link, or all."""
    operator = Operator(LabFolder.here())
    for known in [_known(operator, name)] if name else [link.name for link in operator.topology.links]:
        _print(operator.call(f"qlink-{known}", "GET", "/v1/physics"))


@link.command("set")
@click.argument("name")
@click.option("--loss-db", type=float, help="Total loss in dB, 0 or more.")
@click.option("--depolarizing", type=float, help="Probability, 0 to 1; adds half of it to the QBER.")
@click.option("--eve", help="none, or intercept-resend:FRACTION, which adds a quarter of FRACTION to the QBER.")
def set_(name: str, **settings: Any) -> None:
    """Change a link from its next round on."""
    wanted = {key: value for key, value in settings.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to set: give --loss-db, --depolarizing or --eve")
    operator = Operator(LabFolder.here())
    _print(operator.call(f"qlink-{_known(operator, name)}", "PATCH", "/v1/physics", wanted))


@link.command()
@click.argument("name")
def rekey(name: str) -> None:
    """Give both ends of a link a new pre-shared key: the way out of an empty pad pool."""
    lab = LabFolder.here()
    operator = Operator(lab)
    name = _known(operator, name)
    chosen = next(link for link in operator.topology.links if link.name == name)
    key = renew_pre_shared_key(operator.topology, lab.path, chosen)
    for site in operator.topology.sites:
        if site.name in (chosen.alice, chosen.bob):
            answer = operator.call(site.qkde_id, "PUT", f"/v1/links/{name}/pre-shared-key", octets=key)
            click.echo(f"{site.qkde_id}: pre-shared key {answer['key_id']}, {answer['pads_left']} pads")


def _known(operator: Operator, name: str) -> str:
    known = [link.name for link in operator.topology.links]
    if name not in known:
        raise LabError(f"no link {name!r} in this lab: it has {', '.join(known) or 'none'}")
    return name


def _print(physics: dict[str, Any]) -> None:
    speed = physics.get("pulses_per_second")
    measured = f"{physics.get('pulses_measured', 0):,} pulses measured"
    if speed:
        measured += f", {speed:,.0f} pulses/s by Aer alone"
    click.echo(
        f"{physics['link']}: loss_db {physics['loss_db']}, depolarizing {physics['depolarizing']}, "
        f"eve {physics['eve']}; {measured}"
    )
