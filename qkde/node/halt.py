"""An operator's switch that keeps a link from making key. It outlives a restart, as a kill switch must."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Halt:
    """On while there is `file`. Rounds that are under way end as usual; no other begins."""

    file: Path

    @property
    def is_on(self) -> bool:
        return self.file.exists()

    def switch(self, on: bool) -> None:
        if on:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.touch()
        else:
            self.file.unlink(missing_ok=True)
