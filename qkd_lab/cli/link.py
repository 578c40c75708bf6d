"""`qkd-lab link show`, `set`, `reset`, `presets`, `stop`, `resume` and `rekey`: a link and Eve, while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from qkd_lab.cli.link_rounds import rounds
from qkd_lab.cli.link_watch import watch
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.link_presets import PRESETS, preset
from qkd_lab.link_switch import is_stopped, switch
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.secrets import renew_pre_shared_key
from qkd_lab.topology import Link, Source
from qkd_lab.topology_fields import PHYSICS, PROTOCOL, SOURCE

# What both QKDEs of a link must agree on before a round: in the topology alone.
AGREED = tuple(dict.fromkeys((*SOURCE, *PROTOCOL)))
SINGLE_PHOTONS = Source(source="single-photon")
COUNTERS = ("link", "frames_measured", "pulses_measured", "pulses_per_second")


@click.group()
def link() -> None:
    """The physics of a quantum link, and Eve, while it runs; its rounds; its switch; its pre-shared key."""


link.add_command(rounds)
link.add_command(watch)


@link.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each link.")
def show(name: str | None, as_json: bool) -> None:
    """Show one link, or all."""
    operator = Operator(LabFolder.here())
    for known in [operator.quantum_link(name)] if name else operator.topology.quantum_links:
        physics = operator.call(known.qlink_id, "GET", "/v1/physics")
        stopped = is_stopped(operator, known)
        if as_json:
            click.echo(json.dumps(physics | {"source": known.source.given, "stopped": stopped}))
        else:
            _print(physics, known.source, stopped)


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
@click.option("--preset", "preset_name", help="All of the physics at once, see `link presets`; options go before it.")
@click.option("--loss-db", type=float, help="Loss in dB beside the fibre's, 0 to 1000.")
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
@click.option(
    "--eve",
    help="none; intercept-resend:FRACTION[:random|z|x|DEGREES], a quarter of FRACTION more QBER; "
    "photon-number-splitting[:FRACTION]; beam-splitting[:FRACTION].",
)
@_without_what_is_agreed
def set_(name: str, preset_name: str | None, **settings: Any) -> None:
    """Change a link's physics from its next round on.

    A round that has begun keeps the physics of its first frame. Source and protocol (intensities, bases, tolerance) are
    not among them: the two QKDEs must agree on these, so they are set in the topology.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    for key, value in given.items():
        if not PHYSICS[key].fits(value):
            option = f"--{key.replace('_', '-')}"
            raise LabError(f"{option} is {value!r}: expected {PHYSICS[key].expected}; nothing was changed")
    wanted = (preset(preset_name).physics() if preset_name else {}) | given
    if not wanted:
        raise click.UsageError("nothing to set: give --loss-db, --depolarizing, --eve, --preset or another")
    operator = Operator(LabFolder.here())
    _change(operator, operator.quantum_link(name), wanted)


@link.command()
@click.argument("name")
def reset(name: str) -> None:
    """Bring a link back to the physics of the topology, with which it started; Eve too."""
    operator = Operator(LabFolder.here())
    chosen = operator.quantum_link(name)
    _change(operator, chosen, asdict(chosen.physics))


@link.command()
def presets() -> None:
    """List what `link set --preset` knows."""
    for name, one in PRESETS.items():
        click.echo(f"{name:12} {one.description}")


def _change(operator: Operator, chosen: Link, wanted: dict[str, Any]) -> None:
    _print(operator.call(chosen.qlink_id, "PATCH", "/v1/physics", wanted), chosen.source)
    frames = chosen.protocol.frame_count
    whole = "frame" if frames == 1 else f"round (of {frames} frames)"
    click.echo(f"in effect from the next {whole} on")


@link.command()
@click.argument("name")
def stop(name: str) -> None:
    """Let no more round begin on a link, until `link resume`. Keys that are in the pools stay there."""
    operator = Operator(LabFolder.here())
    failed = switch(operator, operator.quantum_link(name), stopped=True)
    click.echo(f"link {name} is stopped: no round begins; one that has begun ends, and its key is used")
    for why in failed:
        click.echo(f"the other end's word is enough, but this one could not be told: {why}")


@link.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let a stopped link make key again."""
    operator = Operator(LabFolder.here())
    switch(operator, operator.quantum_link(name), stopped=False)
    click.echo(f"link {name} may make key again")


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


def _print(physics: dict[str, Any], source: Source = SINGLE_PHOTONS, stopped: bool | None = False) -> None:
    agreed = ", ".join(f"{name} {value}" for name, value in (source.given or SINGLE_PHOTONS.given).items())
    speed = physics.get("pulses_per_second")
    measured = f"{physics.get('pulses_measured', 0):,} pulses measured"
    if speed:
        measured += f", {speed:,.0f} pulses/s by Aer alone"
    settings = ", ".join(f"{name} {value}" for name, value in physics.items() if name not in COUNTERS)
    switched = {True: "; stopped by an operator", False: "", None: "; not known whether it is stopped"}[stopped]
    click.echo(f"{physics['link']}: {settings}; {agreed}; {measured}{switched}")
