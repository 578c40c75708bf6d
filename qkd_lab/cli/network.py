"""`qkd-lab up`, `down` and `status`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from qkd_lab import configuration
from qkd_lab.embedded import control
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.processes import processes
from qkd_lab.status import gather
from qkd_lab.topology import SHIPPED, Topology, TopologyError, load


@click.command()
@click.option("--topology", "file", type=click.Path(path_type=Path), help="TOML file, or the name of a shipped one.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds until all of it must be ready.")
def up(file: Path | None, timeout: float) -> None:
    """Start the network on this host, or resume the one in this folder; it runs on until `qkd-lab down`."""
    lab = LabFolder.here()
    if pid := control.running_pid(lab):
        raise LabError(f"a lab is running here already (pid {pid}): `qkd-lab down` stops it")
    wanted = _topology_file(lab, file)
    configuration.check(os.environ)
    topology = load(wanted)
    _check_rounds(wanted, topology)
    total = len(processes(topology))
    started = time.monotonic()
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("preparing certificates and databases", total=total)

        def show(event: str, process: str) -> None:
            if event == "ready":
                progress.update(task, advance=1, description=f"{process} is ready")
                console.print(f"{process} is ready", highlight=False)
            elif event == "dead":
                console.print(f"{process} ended and is started again: see .lab/log", highlight=False)

        control.start(lab, wanted, timeout, show)
    state = lab.read_state()
    click.echo(
        f"the lab runs: {total} processes in {time.monotonic() - started:.1f} s, {state['postgres']}, {state['redis']}"
    )
    click.echo("addresses are in .lab/endpoints.json, certificates in .lab/pki; `qkd-lab down` stops it")


def _check_rounds(file: Path, topology: Topology) -> None:
    """What only the QKDEs can say of a link's source and protocol, before they are started."""
    from qkde.parameter_sets.rounds import round_parameters  # formulas, no physics

    for link in topology.links:
        try:
            round_parameters(asdict(link.protocol), link.source.given)
        except ValueError as error:
            raise TopologyError(f"{file}: table links[{link.name}], protocol and source: {error}") from None


def _topology_file(lab: LabFolder, file: Path | None) -> Path:
    if file is None:
        return lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml"
    shipped = SHIPPED / f"{file}.toml"
    return shipped if not file.exists() and shipped.exists() else file


@click.command()
@click.option("--remove", is_flag=True, help="Remove .lab and all data as well.")
def down(remove: bool) -> None:
    """Stop the network of this folder; its keys and certificates stay for the next `up`."""
    lab = LabFolder.here()
    if lab.in_containers:
        raise LabError("the lab of this folder runs in containers: `docker compose down` stops it")
    stopped = control.stop(lab)
    if not stopped and not remove:
        raise LabError(f"no lab is running in {lab.path.parent}: change to its folder")
    if remove:
        control.remove(lab)
    click.echo("the lab has stopped" if stopped else "the lab is removed")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def status(as_json: bool) -> None:
    """Show processes, pools, links and the latest rounds."""
    found = gather(Operator(LabFolder.here()))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found)
    if any(process["health"] != "ok" for process in found["processes"].values()):
        raise click.exceptions.Exit(1)


def _show(found: dict[str, Any]) -> None:
    console = Console(highlight=False)
    table = Table("process", "health", "pid", "restarts", "address", title="processes", title_justify="left")
    for name, process in found["processes"].items():
        pid, restarts = process.get("pid"), process.get("restart_count")
        address = found["endpoints"].get(name) or found["endpoints"].get(f"{name}.ops", "")
        shown = f"{name} ({process['nickname']})" if process.get("nickname") else name
        health = f"{process['health']}, but {'; '.join(process['why'])}" if process.get("why") else process["health"]
        table.add_row(shown, health, _text(pid), _text(restarts), address)
    console.print(table)
    table = Table("connection", "keys", "of", "bits", title="pools", title_justify="left")
    for pool in found["pools"]:
        counts = pool.get("stored_key_count"), pool.get("high_watermark"), pool.get("key_size_bits")
        table.add_row(f"{pool.get('master_sae_id')} → {pool.get('slave_sae_id')}", *map(_text, counts))
    console.print(table)
    _show_accounts(console, found.get("accounts", {}))
    _show_witnesses(console, found.get("witnesses", {}))
    columns = "link", "loss", "depolarizing", "Eve", "pulses", "pulses/s, Aer alone"
    table = Table(*columns, title="links", title_justify="left")
    for name, link in found["links"].items():
        speed = link.get("pulses_per_second")
        table.add_row(
            name,
            f"{_text(link.get('loss_db'))} dB",
            _text(link.get("depolarizing")),
            _text(link.get("eve")),
            _text(link.get("pulses_measured")),
            f"{speed:,.0f}" if speed else "–",
        )
    console.print(table)
    if found.get("folders"):
        table = Table("link", "KME", "files read", "bytes", "folder", title="key files", title_justify="left")
        for one in found["folders"]:
            table.add_row(one["link"], one["kme"], _text(one["files_read"]), f"{one['bytes_read']:,}", one["folder"])
        console.print(table)
    table = Table("link", "owner", "outcome", "QBER", "secret bits", "why", title="latest rounds", title_justify="left")
    for report in found["reports"][-6:]:
        qber = report.get("qber")
        table.add_row(
            _text(report.get("link")),
            _text(report.get("owner")),
            _text(report.get("outcome")),
            "–" if qber is None else f"{qber:.2%}",
            _text(report.get("secret_bits")),
            report.get("abort_reason") or "",
        )
    console.print(table)


def _show_accounts(console: Console, accounts: dict[str, dict[str, Any]]) -> None:
    """Where every bit of each site is: a row for each entry."""
    known = {kme_id: account for kme_id, account in accounts.items() if account}
    entries = [name for name in next(iter(known.values()), {}) if name.endswith("_bits")]
    table = Table("bits", *known, title="accounts", title_justify="left")
    for name in entries:
        table.add_row(name.removesuffix("_bits"), *(f"{account[name]:,}" for account in known.values()))
    table.add_row("adds up", *("yes" if account["balanced"] else "NO" for account in known.values()))
    console.print(table)


def _show_witnesses(console: Console, witnesses: dict[str, dict[str, Any]]) -> None:
    """Whether each KME may use what it has stored."""
    table = Table("witness", "epoch", "state", "why it began", title="witnesses", title_justify="left")
    for kme_id, witness in witnesses.items():
        if witness:
            waiting = [f"{peer}: {state}" for peer, state in witness["peers"].items() if state != "confirmed"]
            state = "; ".join([witness["state"], *waiting])
            table.add_row(kme_id, _text(witness["epoch"]), state, witness["began_because"])
    console.print(table)


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
