"""`qkd-lab link show`, `set`, `rounds` and `rekey`: a link's physics and Eve, while it runs, and a way out for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from qkd_lab.cli.link_rounds import rounds
from qkd_lab.lab_folder import LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.secrets import renew_pre_shared_key
from qkd_lab.topology import Source
from qkd_lab.topology_fields import PROTOCOL, SOURCE

# What both QKDEs of a link must agree on before a round: in the topology alone.
AGREED = tuple(dict.fromkeys((*SOURCE, *PROTOCOL)))
SINGLE_PHOTONS = Source(source="single-photon")
COUNTERS = ("link", "frames_measured", "pulses_measured", "pulses_per_second")


@click.group()
def link() -> None:
    """The physics of a quantum link, and Eve, while it runs; what came of its rounds; its pre-shared key."""


link.add_command(rounds)


@link.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one link, or all."""
    operator = Operator(LabFolder.here())
    for known in [operator.quantum_link(name)] if name else operator.topology.quantum_links:
        _print(operator.call(known.qlink_id, "GET", "/v1/physics"), known.source)


def _refuse_agreed(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        where = "source" if param.name in SOURCE else "protocol"
        raise click.UsageError(
            f"{param.opts[0]}: both QKDEs of a link must agree on {param.name}, so it can't be changed while they run: "
            f"give it under [links.{where}] in the topology of a new lab"
        )


def _without_what_is_agreed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that are known, to say why they are none."""
    for name in AGREED:
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, hidden=True, expose_value=False, callback=_refuse_agreed)(command)
    return command


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
@_without_what_is_agreed
def set_(name: str, **settings: Any) -> None:
    """Change a link's physics from its next round on.

    Source and protocol (intensities, bases, tolerance) are not among them: the two QKDEs must agree on these, so they
    are set in the topology.
    """
    wanted = {key: value for key, value in settings.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to set: give --loss-db, --depolarizing, --eve or another")
    operator = Operator(LabFolder.here())
    chosen = operator.quantum_link(name)
    _print(operator.call(chosen.qlink_id, "PATCH", "/v1/physics", wanted), chosen.source)


@link.command()
@click.argument("name")
def rekey(name: str) -> None:
    """Give both ends of a link a new pre-shared key: the way out of an empty pad pool."""
    lab = LabFolder.here()
    operator = Operator(lab)
    chosen = operator.quantum_link(name)
    key = renew_pre_shared_key(operator.topology, lab.path, chosen)
    for site in operator.topology.sites:
        if site.name in (chosen.alice, chosen.bob):
            answer = operator.call(site.qkde_id, "PUT", f"/v1/links/{name}/pre-shared-key", octets=key)
            click.echo(f"{site.qkde_id}: pre-shared key {answer['key_id']}, {answer['pads_left']} pads")


def _print(physics: dict[str, Any], source: Source = SINGLE_PHOTONS) -> None:
    agreed = ", ".join(f"{name} {value}" for name, value in (source.given or SINGLE_PHOTONS.given).items())
    speed = physics.get("pulses_per_second")
    measured = f"{physics.get('pulses_measured', 0):,} pulses measured"
    if speed:
        measured += f", {speed:,.0f} pulses/s by Aer alone"
    settings = ", ".join(f"{name} {value}" for name, value in physics.items() if name not in COUNTERS)
    click.echo(f"{physics['link']}: {settings}; {agreed}; {measured}")
