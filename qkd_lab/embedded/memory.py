"""How much memory a lab's processes use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def proportional_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """The sum of the proportional set sizes (shared pages count once in all) of these processes and all below them.

    Processes that end meanwhile or may not be looked at count nothing.
    """
    children: dict[int, list[int]] = {}
    for folder in proc.glob("[0-9]*"):
        parent = _parent(folder)
        if parent is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return sum(_pss_bytes(proc / str(pid)) for pid in found)


def _parent(folder: Path) -> int | None:
    try:
        # The second field is the name in parentheses, which may hold blanks and parentheses itself.
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _pss_bytes(folder: Path) -> int:
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
