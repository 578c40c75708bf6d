"""Which code made a result: the package's version, and the commit where it runs from a checkout."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@cache
def origin() -> dict[str, str | None]:
    """`commit` is None outside a checkout, and ends in `-dirty` where files differ from it."""
    try:
        installed = version("qkd-lab")
    except PackageNotFoundError:
        installed = "unknown"
    return {"version": installed, "commit": _commit() if (CHECKOUT / ".git").exists() else None}


def _commit() -> str | None:
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
