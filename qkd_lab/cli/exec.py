"""`qkd-lab exec -- COMMAND`: a program of any language with a QKD network of its own, for as long as it runs."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from qkd_lab.testing import QKDNetwork


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--embedded", is_flag=True, help="On this host; otherwise in a container.")
@click.option("--topology", help="TOML file, or the name of a shipped one.")
@click.option("--prefilled", default=1, show_default=True, help="Keys in every pool before the command starts.")
@click.option("--seed", type=click.IntRange(min=0), help="The same key bits at every run.")
@click.argument("command", nargs=-1, required=True)
def exec_(embedded: bool, topology: str | None, prefilled: int, seed: int | None, command: tuple[str, ...]) -> None:
    """Run a command with a fresh network, which its environment names, and remove the network after it.

    \b
    NETWORK_FOLDER                               folder of the network: `qkd-lab` commands work there
    KME_<SITE>_URL                              where the KME of a site is, as KME_A_URL
    SAE_<SITE>_ID, _CERT, _KEY, _CA             the first SAE of a site: its id, PEM files
    """
    from qkd_lab.testing import QKDNetwork  # more than other commands need

    try:
        network = QKDNetwork(embedded=embedded, topology=topology, prefilled=prefilled, seed=seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with network:
        try:
            done = subprocess.run(command, env={**os.environ, **variables(network)})
        except OSError as error:
            raise click.UsageError(f"{command[0]} can't be run: {error.strerror}") from None
    # A signal ends a shell's command with 128 and its number.
    raise click.exceptions.Exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


def variables(network: QKDNetwork) -> dict[str, str]:
    """What a program needs to know of a network."""
    found = {"NETWORK_FOLDER": str(network.folder)}
    for site in network.topology.sites:
        name = re.sub(r"[^A-Z0-9]", "_", site.name.upper())
        found[f"KME_{name}_URL"] = network.kme(site.name).url
        if site.saes:
            sae = network.sae(site.name)
            found |= {f"SAE_{name}_{part.upper()}": getattr(sae, part) for part in ("id", "cert", "key", "ca")}
    return found
