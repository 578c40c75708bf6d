"""`qkd-lab doctor`: looks for what keeps a lab from running, one line per finding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import click

from qkd_lab.doctor import host, running
from qkd_lab.doctor.certificates import certificates
from qkd_lab.doctor.finding import Finding
from qkd_lab.embedded import control
from qkd_lab.lab_folder import LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import SHIPPED


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def doctor(as_json: bool) -> None:
    """Check this host, certificates, and all of a lab that runs here; exit 1 where something is wrong."""
    findings = list(examine(LabFolder.here()))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            line = f"{'ok ' if one.good else 'BAD'} {one.check}: {one.text}" + ("" if one.good else f" → {one.hint}")
            click.echo(" ".join(line.split()))
    if not all(finding.good for finding in findings):
        raise click.exceptions.Exit(1)


def examine(lab: LabFolder) -> Iterator[Finding]:
    yield from host.python()
    yield from host.servers()
    yield from host.disk(lab)
    yield from certificates(lab, datetime.now(UTC))
    if not lab.endpoints.exists() or (not lab.in_containers and not control.running_pid(lab)):
        yield Finding("processes", True, "no lab runs in this folder: `qkd-lab up` starts one")
        yield from host.ports(lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml")
        return
    operator = Operator(lab)
    answers = running.ask(operator)
    yield from running.processes(operator, answers)
    yield from running.needs(operator, answers)
    yield from running.clocks(answers)
    yield from running.versions(answers)
    yield from running.keys(operator)
