"""`qkd-lab link show`, `link set` and `link rekey`: a link's physics and Eve, while it runs, and a way out for it."""

from __future__ import annotations

from typing import Any

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.secrets import renew_pre_shared_key

COUNTERS = ("link", "frames_measured", "pulses_measured", "pulses_per_second")


@click.group()
def link() -> None:
    """The physics of a quantum link, and Eve, while it runs; its pre-shared key."""


@link.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one link, or all."""
    operator = Operator(LabFolder.here())
    for known in [_known(operator, name)] if name else [link.name for link in operator.topology.quantum_links]:
        _print(operator.call(f"qlink-{known}", "GET", "/v1/physics"))


@link.command("set")
@click.argument("name")
@click.option("--loss-db", type=float, help="Loss in dB beside the fibre's, 0 or more.")
@click.option("--distance-km", type=float, help="Length of the fibre.")
@click.option("--attenuation-db-per-km", type=float, help="Of the fibre.")
@click.option("--depolarizing", type=float, help="Probability, 0 to 1; adds half of it to the QBER.")
@click.option("--noise", help="More noise, as in `qkd-lab bb84`: none, or bit_flip:P,phase_damping:P, ...")
@click.option("--misalignment", type=float, help="Probability of the wrong detector, 0 to 0.5.")
@click.option("--detector-efficiency", type=float, help="Above 0, up to 1.")
@click.option("--dark-count-probability", type=float, help="Per pulse, both detectors together.")
@click.option("--dead-time-s", type=float, help="Of both detectors after a click.")
@click.option("--afterpulse-probability", type=float, help="That a click is followed by one without light.")
@click.option("--repetition-rate-hz", type=float, help="Pulses per simulated second.")
@click.option("--eve", help="none, or intercept-resend:FRACTION, which adds a quarter of FRACTION to the QBER.")
def set_(name: str, **settings: Any) -> None:
    """Change a link from its next round on."""
    wanted = {key: value for key, value in settings.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to set: give --loss-db, --depolarizing, --eve or another")
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
    if not operator.topology.link(name).is_quantum:
        raise LabError(f"link {name} is fed with key files: it has no physics and no pre-shared key")
    return name


def _print(physics: dict[str, Any]) -> None:
    speed = physics.get("pulses_per_second")
    measured = f"{physics.get('pulses_measured', 0):,} pulses measured"
    if speed:
        measured += f", {speed:,.0f} pulses/s by Aer alone"
    settings = ", ".join(f"{name} {value}" for name, value in physics.items() if name not in COUNTERS)
    click.echo(f"{physics['link']}: {settings}; {measured}")
