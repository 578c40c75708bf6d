"""`qkd-lab config show` and `check`: what holds, where it is from, and what is wrong, without starting anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from qkd_lab import configuration
from qkd_lab.lab_folder import LabFolder
from qkd_lab.topology import SHIPPED, Topology, TopologyError, load

FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """What is configured, in a topology file and in the environment (docs/configuration.md).

    FILE is a topology file or the name of a shipped one; by default that of the lab in this folder.
    """


@config.command()
@FILE
def check(file: Path | None) -> None:
    """Say everything that is wrong, and end with status 2; or that nothing is."""
    path = _chosen(file)
    _read(path)
    click.echo(f"{path} and the environment are good")


@config.command()
@FILE
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def show(file: Path | None, as_json: bool) -> None:
    """Show every setting's effective value, and where it is from. Secrets are no settings."""
    path = _chosen(file)
    shown = list(_effective(*_read(path)))
    if as_json:
        click.echo(json.dumps([{"name": name, "value": value, "from": source} for name, value, source in shown]))
        return
    for name, value, source in shown:
        source = path.name if source == "file" else source
        click.echo(f"{name} = {json.dumps(value, ensure_ascii=False)}  # {source}")


def _chosen(file: Path | None) -> Path:
    if file is None:
        kept = LabFolder.here().topology
        return kept if kept.exists() else SHIPPED / "two-sites.toml"
    shipped = SHIPPED / f"{file}.toml"
    return shipped if not file.exists() and shipped.exists() else file


def _read(path: Path) -> tuple[Topology, dict[str, configuration.Value], dict[str, configuration.Value]]:
    """The file, the environment's settings and a KME's; what is wrong is printed, and ends the command."""
    problems: list[str] = []
    topology = None
    try:
        topology = load(path)
    except TopologyError as error:
        problems += str(error).splitlines()
    environment = configuration.environment(os.environ, problems, of_process=False)
    kme = configuration.kme_settings(topology.kme if topology else {}, os.environ, problems)
    if topology is None or problems:
        for line in problems:
            click.echo(f"qkd-lab: {line}", err=True)
        raise SystemExit(2)
    return topology, environment, kme


def _effective(
    topology: Topology, environment: dict[str, configuration.Value], kme: dict[str, configuration.Value]
) -> Iterator[tuple[str, Any, str]]:
    """Name, value and source: of the environment what is set, of the rest everything."""
    for name, one in environment.items():
        if one.source != "default":
            yield name, one.value, "environment"
    for name, one in kme.items():
        yield f"kme.{name}", one.value, one.source
    yield "name", topology.name, "file"
    for part in ("sites", "links", "connections"):
        for number, one in enumerate(getattr(topology, part), 1):
            yield from _flat(f"{part}[{getattr(one, 'name', number)}]", one)


def _flat(where: str, part: Any) -> Iterator[tuple[str, Any, str]]:
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            yield from _flat(f"{where}.{field.name}", value)
        else:
            source = "default" if value == field.default else "file"
            yield f"{where}.{field.name}", list(value) if isinstance(value, tuple) else value, source
