"""The floor: a bare Flask view under the KME's server, or gunicorn as it comes, beside the lab that is measured."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from types import TracebackType

import psutil
import requests

from qkd_lab.embedded.launch import Launcher
from qkd_lab.embedded.programs import services_package
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.testing.handles import Sae

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class Floor:
    """A process with the certificate of the KME that serves `sae`, on a free port; `folder` is private and temporary.
    It ends with the `with`, and also when this process is killed. `as_it_comes`: with gunicorn's own worker and TLS."""

    def __init__(
        self, lab: LabFolder, sae: Sae, worker_count: int, folder: Path, *, as_it_comes: bool = False
    ) -> None:
        self._lab = lab
        self._sae = sae
        self._worker_count = worker_count
        self._folder = folder
        self._arguments = ["gunicorn"] if as_it_comes else []
        self._process: psutil.Process | None = None
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
        launcher = Launcher()
        try:
            pid = launcher.start(
                ["-m", f"{package}.floor", *self._arguments],
                environment=environment,
                folder=self._folder,
                log=log,
                death_signal=signal.SIGKILL,  # when this process has ended; its workers end when their master has gone
                uid=-1,
                gid=-1,
            )
        finally:
            launcher.close()
        self._process = psutil.Process(pid)
        try:
            self._wait(log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _wait(self, log: Path) -> None:
        until = time.monotonic() + READY_WITHIN_S
        with self._sae.session() as session:
            while True:
                try:
                    if session.get(self.url, timeout=3).ok and self._serving_count() == self._worker_count:
                        return
                except requests.RequestException:
                    pass
                if self._ends_within(0) or time.monotonic() > until:
                    said = log.read_text(errors="replace").strip().splitlines()
                    raise LabError(f"the floor's process does not start: {said[-1] if said else 'it says nothing'}")
                time.sleep(0.1)

    def _serving_count(self) -> int:
        """Workers that accept: each has a file of metrics from then on. A load that begins with fewer would stay with
        these, as its connections are kept."""
        assert self._process is not None
        files = [self._folder / "metrics" / f"gauge_livesum_{one.pid}.db" for one in self._process.children()]
        return sum(file.exists() for file in files)

    def _stop(self) -> None:
        if self._process is None or self._ends_within(0):
            return
        self._process.terminate()
        if not self._ends_within(STOP_WITHIN_S):
            self._process.kill()
            self._process.wait()

    def _ends_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except psutil.TimeoutExpired:
            return False
        return True
