"""`qkd-lab pki`: the lab's certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load


def _pki(lab: LabFolder) -> Pki:
    return Pki(lab.pki, datetime.now(UTC))


@click.group()
def pki() -> None:
    """Certificates: an authority per role, a folder per holder in .lab/pki."""


@pki.command()
@click.option(
    "--topology", "file", type=click.Path(path_type=Path), help="TOML file; the shipped two sites by default."
)
def init(file: Path | None) -> None:
    """Make what is missing, renew what expires within 30 days."""
    lab = LabFolder.here()
    lab.make()
    wanted = file or (lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml")
    made = _pki(lab).make(lab.keep_topology(wanted))
    click.echo(f"made: {', '.join(made)}" if made else "every certificate is good: nothing to do")


@pki.group()
def issue() -> None:
    """Issue a certificate."""


@issue.command()
@click.argument("sae_id", metavar="ID")
@click.option("--site", required=True, help="The site whose authority signs it.")
def sae(sae_id: str, site: str) -> None:
    """A client certificate for an SAE; `qkd-lab register sae` does this and registers it as well."""
    lab = LabFolder.here()
    if lab.topology.exists():
        load(lab.topology).site(site)
    click.echo(str(_pki(lab).issue_sae(sae_id, site).relative_to(lab.path.parent)))


@pki.command("list")
def list_() -> None:
    """Every certificate, one per line."""
    held = _pki(LabFolder.here()).list()
    if not held:
        raise LabError("no certificates here: make them with `qkd-lab pki init`")
    for one in held:
        click.echo(
            f"{one.name}\t{one.identity.urn}\t{one.authority}\texpires {one.expires:%Y-%m-%d}\t{one.serial_number:x}"
        )


@pki.command()
@click.argument("name")
def show(name: str) -> None:
    """One certificate in words."""
    lab = LabFolder.here()
    for held in _pki(lab).list():
        if held.name == name:
            click.echo(f"identity   {held.identity.urn}")
            click.echo(f"authority  {held.authority}")
            click.echo(f"names      {', '.join(held.names) or 'none: a client'}")
            click.echo(f"expires    {held.expires:%Y-%m-%d %H:%M} UTC")
            click.echo(f"serial     {held.serial_number:x}")
            click.echo(f"files      {lab.identity(name).relative_to(lab.path.parent)}/{{cert,key,ca}}.pem")
            return
    raise LabError(f"no certificate {name!r} here: `qkd-lab pki list` shows those there are")
