"""`qkd-lab config show` and `check`: what holds, where it is from, and what is wrong, without starting anything."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
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
    topology, environment, kme = _read(path)
    shown = [*_of_processes(environment, kme), *_of_network(topology, tomllib.loads(path.read_text(encoding="utf-8")))]
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


def _of_processes(
    environment: dict[str, configuration.Value], kme: dict[str, configuration.Value]
) -> Iterator[tuple[str, Any, str]]:
    """Name, value and source: of the environment what is set, of a KME's settings everything."""
    for name, one in environment.items():
        if one.source != "default":
            yield name, one.value, "environment"
    for name, one in kme.items():
        yield f"kme.{name}", one.value, one.source


def _of_network(topology: Topology, document: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """The same of all that the file can say; `document` is what it does say."""
    for name in ("name", "doors"):
        yield name, _as_json(getattr(topology, name)), _source(name, document)
    for part in ("sites", "links", "connections"):
        tables = document.get(part, [])
        for number, (one, table) in enumerate(zip(getattr(topology, part), tables, strict=True), 1):
            yield from _flat(f"{part}[{getattr(one, 'name', number)}]", one, table)


def _flat(where: str, part: Any, table: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            yield from _flat(f"{where}.{field.name}", value, table.get(field.name, {}))
        else:
            yield f"{where}.{field.name}", _as_json(value), _source(field.name, table)


def _source(name: str, table: Mapping[str, Any]) -> str:
    return "file" if name in table else "default"


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
