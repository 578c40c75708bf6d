"""`qkd-lab dashboard`: the address of the page, and the link that logs an operator in."""

from __future__ import annotations

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.pki.secrets import SESSION_TOKEN
from qkd_lab.processes import DASHBOARD


@click.command()
def dashboard() -> None:
    """Print a link to the dashboard that may also act; whoever has it is an operator. Without its end: to look only."""
    lab = LabFolder.here()
    click.echo(login_link(lab))


def login_link(lab: LabFolder) -> str:
    """The token is behind the `#`, which no browser sends and no server logs."""
    address = lab.read_endpoints().get(DASHBOARD)
    if address is None:
        raise LabError("this lab has no dashboard: its topology has dashboard = false")
    try:
        token = (lab.secrets(DASHBOARD) / SESSION_TOKEN).read_text().strip()
    except OSError as error:
        raise LabError(f"{lab.secrets(DASHBOARD) / SESSION_TOKEN} can't be read: {error.strerror}") from None
    return f"{address}/#token={token}"
