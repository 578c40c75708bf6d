"""`qkd-lab doctor`: looks for what keeps a lab from running, one line per finding."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from qkd_lab.addresses import host_port
from qkd_lab.embedded import control
from qkd_lab.embedded.binaries import find_postgres, find_redis
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.store import Pki
from qkd_lab.processes import processes
from qkd_lab.topology import SHIPPED, load

Finding = tuple[bool, str]


@click.command()
def doctor() -> None:
    """Check Python, database servers, certificates, ports and processes."""
    lab = LabFolder.here()
    findings = [*_python(), *_servers(), *_certificates(lab), *_processes(lab)]
    for good, text in findings:
        click.echo(f"{'ok ' if good else 'BAD'} {' '.join(text.split())}")
    if not all(good for good, _ in findings):
        raise click.exceptions.Exit(1)


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield sys.version_info >= (3, 11), f"Python {version} (3.11 or newer is needed)"


def _servers() -> Iterator[Finding]:
    finders: tuple[Callable, ...] = (find_postgres, find_redis)
    for find in finders:
        try:
            binary = find(os.environ)
        except LabError as error:
            yield False, str(error)
        else:
            yield True, f"{binary.path.name} {binary.version} ({binary.origin}): {binary.path}"


def _certificates(lab: LabFolder) -> Iterator[Finding]:
    if not lab.pki.exists():
        yield True, "no certificates yet: `qkd-lab up` makes them"
        return
    now = datetime.now(UTC)
    held = Pki(lab.pki, now).list()
    late = [one.name for one in held if one.renewed_from < now and one.revoked_at is None]
    if late:
        yield (
            False,
            f"certificates of {', '.join(late)} expire soon: `qkd-lab pki renew --expiring 30` renews them",
        )
    loose = [path for path in lab.pki.glob("**/key.pem") if path.stat().st_mode & 0o077]
    if loose:
        yield False, f"{loose[0]} can be read by others: chmod 600 it"
    if not late and not loose:
        yield True, f"{len(held)} certificates, the first expires {min(one.expires for one in held):%Y-%m-%d}"


def _processes(lab: LabFolder) -> Iterator[Finding]:
    if not lab.endpoints.exists() or (not lab.in_containers and not control.running_pid(lab)):
        yield True, "no lab runs in this folder: `qkd-lab up` starts one"
        yield from _ports(lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml")
        return
    operator = Operator(lab)
    for process in operator.processes:
        health = operator.health(process.name)
        yield health == "ok", f"{process.name}: {health}"


def _ports(topology: Path) -> Iterator[Finding]:
    wanted = [host_port(process, name) for process in processes(load(topology)) for name in process.listeners]
    taken = [str(port) for port in wanted if not _is_free(port)]
    text = f"taken by others: {', '.join(taken)}; the lab uses the next free ones" if taken else "all free"
    yield True, f"ports on 127.0.0.1: {text}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
