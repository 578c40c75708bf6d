"""A test's network as processes of this host, which end with the test's own process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from qkd_lab.embedded import control
from qkd_lab.lab_folder import LabError, LabFolder


class Embedded:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lab: LabFolder | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self, lab: LabFolder, topology: Path, timeout_s: float) -> None:
        """Raises LabError."""
        self._lab = lab
        self._supervisor = control.start(
            lab, topology, timeout_s, lambda *_: None, ends_with_caller=True, environment=self._environment
        )

    def stop(self) -> None:
        if self._lab is not None:
            control.stop(self._lab)
            if self._supervisor is not None:
                self._supervisor.wait()
            control.remove(self._lab)
        self._lab = None

    def logs(self, process: str | None = None) -> str:
        if self._lab is None:
            raise LabError("the network does not run: there are no logs")
        files = [self._lab.log(process)] if process else sorted((self._lab.path / "log").glob("*.log"))
        text = ""
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                text += f"==> {file.stem} <==\n{file.read_text(errors='replace')}"
        return text
