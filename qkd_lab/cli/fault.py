"""`qkd-lab fault show` and `fault set`: faults on purpose, for authors of ETSI GS QKD 014 clients (docs/faults.md)."""

from __future__ import annotations

from typing import Any

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.setting_tables import FAULTS

KNOBS = {setting.name.removeprefix("fault_"): setting for setting in FAULTS}
PATH = "/v1/faults"


@click.group()
def fault() -> None:
    """Faults that a KME makes on purpose towards its SAEs: what does your client do?"""


@fault.command()
@click.argument("kme", required=False)
def show(kme: str | None) -> None:
    """Show the knobs of one KME, or of all."""
    operator = Operator(LabFolder.here())
    for name in [_known(operator, kme)] if kme else _kmes(operator):
        _print(name, operator.call(name, "GET", PATH))


@fault.command("set")
@click.argument("kme")
@click.argument("knob", type=click.Choice([*KNOBS, "all"]), metavar="KNOB")
@click.argument("value", metavar="VALUE|off")
def set_(kme: str, knob: str, value: str) -> None:
    """Set one knob of a KME while it runs, or `all off`. It holds until the KME is started anew.

    \b
    refuse_percentage P               P of 100 requests get 503, before anything was done
    delay_s S                         answers come S seconds later than they are ready
    drop_after_delivery_percentage P  after P of 100 deliveries the connection ends without the answer
    duplicate_reply_percentage P      the octets of P of 100 answers are sent twice
    empty_pools true                  masters get 503, as if there were too few keys
    """
    chosen = {} if knob == "all" else {knob: _value(knob, value)}
    if knob == "all" and value != "off":
        raise click.UsageError("all knobs can only be set to off")
    operator = Operator(LabFolder.here())
    name = _known(operator, kme)
    before = operator.call(name, "GET", PATH) if chosen else {}
    _print(name, operator.call(name, "PUT", PATH, before | chosen))


def _value(knob: str, text: str) -> Any:
    setting = KNOBS[knob]
    value = setting.default if text == "off" else setting.parsed("true" if text == "on" else text)
    if not setting.fits(value):
        raise click.UsageError(f"{knob} is {text!r}: expected {setting.expected}, or off")
    return value


def _kmes(operator: Operator) -> list[str]:
    return [process.name for process in operator.processes if process.kind == "kme"]


def _known(operator: Operator, name: str) -> str:
    known = _kmes(operator)
    if name not in known:
        raise LabError(f"no KME {name!r} in this lab: it has {', '.join(known)}")
    return name


def _print(name: str, faults: dict[str, Any]) -> None:
    shown = ", ".join(f"{knob} {str(value).lower()}" for knob, value in faults.items() if value)
    click.echo(f"{name}: {shown or 'no faults on purpose'}")
