"""`qkd-lab logs`: what the processes of this folder's lab say."""

from __future__ import annotations

import time

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.log_lines import Growing, newest, process_of

LOOK_EVERY_S = 0.2


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("-n", "--lines", default=200, show_default=True, type=click.IntRange(0), help="How many to begin with.")
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show the newest log lines of all processes in the order of time, or of the process NAME."""
    lab = LabFolder.here()
    if lab.in_containers:
        wanted = " ".join(["docker compose logs", *(["-f"] if follow else []), *([name] if name else [])])
        raise LabError(f"the lab of this folder runs in containers: `{wanted}` shows what they say")
    growing = Growing(lab.log("").parent, name)
    files = growing.files()
    if not files:
        known = ", ".join(process_of(path) for path in Growing(lab.log("").parent).files())
        raise LabError(f"no log of {name}: there are {known}" if known else "no lab was ever started in this folder")
    for line in newest(files, lines):
        click.echo(str(line))
    while follow:
        for line in growing.read():
            click.echo(str(line))
        time.sleep(LOOK_EVERY_S)
