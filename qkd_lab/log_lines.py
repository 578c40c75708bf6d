"""The logs of an embedded lab's processes as one: in the order of time, and as they grow."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

# How each program begins a line: the lab's own (in local time), its JSON, PostgreSQL, Redis.
_MOMENTS = (
    (re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) "), "%Y-%m-%d %H:%M:%S,%f", None),
    (re.compile(r'\{"time": "([^"]+?)\+00:00"'), "%Y-%m-%dT%H:%M:%S.%f", UTC),
    (re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?:UTC|GMT) "), "%Y-%m-%d %H:%M:%S.%f", UTC),
    (re.compile(r"\d+:[A-Z] (\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}) "), "%d %b %Y %H:%M:%S.%f", UTC),
)


class Line(NamedTuple):
    moment_s: float
    process: str
    text: str

    def __str__(self) -> str:
        return f"{self.process:<16} {self.text}"


def moment(text: str) -> float | None:
    """The Unix time a line begins with, or None: it goes on from the line before."""
    for form, written, zone in _MOMENTS:
        if found := form.match(text):
            return datetime.strptime(found[1], written).replace(tzinfo=zone).timestamp()
    return None


def process_of(path: Path) -> str:
    return unquote(path.stem)


def newest(files: Iterable[Path], count: int) -> list[Line]:
    """The last `count` lines of all files together, the oldest first."""
    lines = [line for path in files for line in _dated(process_of(path), _last(path, count), 0.0)]
    # Stable: lines of one moment, and those that go on from another, stay as they were written.
    lines.sort(key=lambda line: line.moment_s)
    return lines[-count:] if count else []


def _last(path: Path, count: int) -> Iterable[str]:
    with open(path, errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def _dated(process: str, texts: Iterable[str], at_s: float) -> Iterator[Line]:
    for text in texts:
        at_s = moment(text) or at_s
        yield Line(at_s, process, text)


@dataclass
class _Place:
    inode: int
    offset: int
    at_s: float = 0.0


class Growing:
    """What is written to the logs of a folder from now on, also to new ones and to those that were rotated or cut."""

    def __init__(self, folder: Path, process: str | None = None) -> None:
        self._folder = folder
        self._process = process
        self._places = {path: _Place(path.stat().st_ino, path.stat().st_size) for path in self.files()}

    def files(self) -> list[Path]:
        found = sorted(self._folder.glob("*.log"))
        return [path for path in found if self._process in (None, process_of(path))]

    def read(self) -> list[Line]:
        """The whole lines that came since the last time, the oldest first."""
        lines: list[Line] = []
        for path in self.files():
            lines += self._new_lines(path)
        return sorted(lines, key=lambda line: line.moment_s)

    def _new_lines(self, path: Path) -> list[Line]:
        with open(path, "rb") as file:
            now = os.fstat(file.fileno())
            place = self._places.get(path)
            if place is None or place.inode != now.st_ino or now.st_size < place.offset:
                place = self._places[path] = _Place(now.st_ino, 0)
            file.seek(place.offset)
            whole = file.read().rpartition(b"\n")
        place.offset += len(whole[0] + whole[1])
        texts = whole[0].decode(errors="replace").split("\n") if whole[1] else []
        lines = list(_dated(process_of(path), texts, place.at_s))
        place.at_s = lines[-1].moment_s if lines else place.at_s
        return lines
