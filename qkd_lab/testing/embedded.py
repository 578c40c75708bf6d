"""A test's network as processes of this host, which end with the test's own process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from qkd_lab.embedded import control
from qkd_lab.lab_folder import LabFolder


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
        self._lab = self._supervisor = None

    def watch(self) -> None:
        """Its supervisor does: it is this process's child, and ends with it."""

    def is_running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    def texts(self) -> dict[str, str]:
        """What was logged, by process."""
        assert self._lab is not None
        files = sorted((self._lab.path / "log").glob("*.log"))
        return {unquote(file.stem): file.read_text(errors="replace") for file in files}
