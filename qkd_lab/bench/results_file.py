"""Files that results are kept in: whether one can be written is found before anything is measured."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qkd_lab.lab_folder import LabError


def check_place(option: str, path: Path) -> None:
    """Raises LabError."""
    with _told(option, path), in_its_place(path, keep=False) as written:
        if written != path:
            written.touch()


def write_json(option: str, path: Path, content: dict[str, Any]) -> None:
    """Raises LabError; what was there before is there still then."""
    with _told(option, path), in_its_place(path) as written:
        written.write_text(json.dumps(content, indent=2) + "\n")


@contextmanager
def in_its_place(path: Path, keep: bool = True) -> Iterator[Path]:
    """Gives a file beside `path`, of the same suffix, that takes its place in one step, if it is to be kept. What is
    no file, or may be one that others write to, as /dev/stdout, is given itself. Raises OSError."""
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise IsADirectoryError(None, "Is a directory")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(None, "Permission denied")
    if path.absolute().parts[:2] == ("/", "dev") or (place.exists() and not place.is_file()):
        yield path
        return
    written = place.with_name(f".{secrets.token_hex(8)}{place.suffix}")
    try:
        yield written
        if keep:
            written.replace(place)
    finally:
        written.unlink(missing_ok=True)


@contextmanager
def _told(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise LabError(
            f"{option}: {path}: {why}; expected a file in a folder that is there and can be written to"
        ) from None
