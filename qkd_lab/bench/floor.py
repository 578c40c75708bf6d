"""The floor: a bare Flask view under the KME's server configuration and mutual TLS, beside the lab that is measured."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import requests

from qkd_lab.embedded import launch
from qkd_lab.embedded.programs import services_package
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.testing.handles import Sae

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class Floor:
    """A process with the certificate of the KME that serves `sae`, on a free port; `folder` is private and temporary.
    It ends with the `with`, and also when this process is killed."""

    def __init__(self, lab: LabFolder, sae: Sae, worker_count: int, folder: Path) -> None:
        self._lab = lab
        self._sae = sae
        self._worker_count = worker_count
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Floor:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"https://{address}/"
        addresses, log = self._folder / "addresses.json", self._folder / "floor.log"
        addresses.write_text(json.dumps({self._sae.kme.id: {"sae": address}}))
        for name in ("state", "metrics"):
            (self._folder / name).mkdir()
        package, home = services_package(os.environ)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "QKD_PROCESS": self._sae.kme.id,
            "QKD_TOPOLOGY": str(self._lab.topology.resolve()),
            "QKD_ADDRESSES": str(addresses),
            "QKD_PKI": str(self._lab.pki.resolve()),
            "QKD_SECRETS": str(self._folder),
            "QKD_STATE": str(self._folder / "state"),
            "QKD_WORKERS": str(self._worker_count),
            "PROMETHEUS_MULTIPROC_DIR": str(self._folder / "metrics"),
        }
        # Killed by the kernel with this process; its workers end when their master has gone.
        bound = [launch.__file__, str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1"]
        command = [sys.executable, "-I", "-S", *bound, sys.executable, "-m", f"{package}.floor"]
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self._folder, env=environment
            )
        try:
            self._wait(log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        until = time.monotonic() + READY_WITHIN_S
        with self._sae.session() as session:
            while True:
                try:
                    if session.get(self.url, timeout=3).ok:
                        return
                except requests.RequestException:
                    pass
                if self._process.poll() is not None or time.monotonic() > until:
                    said = log.read_text(errors="replace").strip().splitlines()
                    raise LabError(f"the floor's process does not start: {said[-1] if said else 'it says nothing'}")
                time.sleep(0.1)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
