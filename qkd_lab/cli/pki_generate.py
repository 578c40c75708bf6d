"""`qkd-lab pki generate`: certificates from one configuration file, for networks that are not this lab."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from qkd_lab.pki.configuration import read_configuration
from qkd_lab.pki.store import Pki


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), required=True, help="TOML: see docs/pki.md.")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Gets pki/ and crl/.")
def generate(file: Path, folder: Path) -> None:
    """Make what is missing of a PKI described in a file: authorities, certificates, revocation lists."""
    configuration = read_configuration(file)
    store = Pki(folder / "pki", datetime.now(UTC))
    made = store.make_for(configuration.holders, configuration.authorities)
    click.echo(f"made: {', '.join(made)}" if made else "every certificate is good: nothing to do")
    by_serial = {one.name for one in configuration.holders if one.named_by == "serial"}
    for held in store.list():
        if held.name in by_serial:
            number = f"{held.serial_number} (0x{held.serial_number:x})"
            click.echo(f"{held.name}: known by serial number {number} of {held.authority}")
