"""`qkd-lab demo`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from qkd_lab.demo import POLL_S, Demo, kme_for_the_master
from qkd_lab.embedded.memory import proportional_bytes
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator


@click.command()
@click.option("--eve/--no-eve", default=True, show_default=True, help="Let Eve listen for a while.")
def demo(eve: bool) -> None:
    """Send a message from one SAE to another under QKD keys, then show what Eve does to the link."""
    operator = Operator(LabFolder.here())
    started = time.monotonic()
    shown = Demo(operator, kme_for_the_master(operator), lambda line: click.echo(f"• {line}"), _wait)
    shown.exchange()
    if operator.topology.link(shown.link).is_quantum:
        if eve:
            shown.eve()
        shown.tell_speeds()
    elif eve:
        click.echo(f"• the link {shown.link} is fed with key files: there is no light that Eve could measure")
    if pid := operator.lab.read_state().get("pid"):
        # Those of database servers that run as another user are seen by root alone.
        shown.figures.append(f"memory of all processes: {proportional_bytes([pid]) / 1e6:.0f} MB (PSS)")
    shown.figures.append(f"the demonstration took {time.monotonic() - started:.1f} s")
    for line in shown.figures:
        click.echo(line)


def _wait(what: str, condition: Callable[[], Any], within_s: float) -> Any:
    until = time.monotonic() + within_s
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(what)
        while not (found := condition()):
            if time.monotonic() > until:
                raise LabError(f"{what}: not within {within_s:.0f} s; `qkd-lab status` and .lab/log tell more")
            time.sleep(POLL_S)
    return found
