"""A test's network in one container: the same processes as on the host, behind ports that Docker chooses.

One container, not one for each process as in docker-compose.yml: a client under test sees the doors alone, and what
starts, is reaped and is told apart from other runs is then one thing.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from qkd_lab import addresses
from qkd_lab.lab_folder import LabError, LabFolder, write_json
from qkd_lab.testing.reaper import LABEL, reap_after, session_label
from qkd_lab.topology import load

IMAGE = "qkd-lab/network"
CHECKOUT = Path(__file__).resolve().parents[2]
INSIDE = "/network"
HOST = "network"  # the container's name for itself


class Contained:
    def __init__(self, environment: Mapping[str, str], image: str | None) -> None:
        self._environment = environment
        self._image = image or IMAGE
        self._container: Any = None

    def start(self, lab: LabFolder, topology_file: Path, timeout_s: float) -> None:
        """Raises LabError where the image is not there and can't be built, or the network does not start."""
        try:
            from testcontainers.core.container import DockerContainer
            from testcontainers.core.docker_client import DockerClient
            from testcontainers.core.wait_strategies import LogMessageWaitStrategy
        except ImportError:
            raise LabError(
                "a network in a container needs testcontainers: `pip install testcontainers`, or embedded=True"
            ) from None
        topology = load(topology_file)
        urls = addresses.endpoints(topology, addresses.published(topology))
        ports = {name: int(url.rpartition(":")[2]) for name, url in urls.items()}
        wait = LogMessageWaitStrategy('"event": "(running|failed)"').with_poll_interval(0.1)
        wait.with_startup_timeout(int(timeout_s))
        try:
            self._have_image()
            container = (
                DockerContainer(self._image)
                .with_exposed_ports(*ports.values())
                .with_envs(QKD_ALSO_AT=f"sae={HOST} ops={HOST}", QKD_LAB_HOSTS=DockerClient().host())
                .with_envs(**self._environment)
                .with_copy_into_container(topology_file.read_bytes(), f"{INSIDE}/network.toml", 0o644)
                .with_kwargs(hostname=HOST, init=True, labels={LABEL: session_label()})
                .waiting_for(wait)
            )
            self._container = container
            container.start()
        except LabError:
            raise
        except Exception as error:  # of Docker's client, requests, testcontainers: each has its own
            hint = "" if _engine_answers() else "; is Docker running?"
            raise LabError(f"the network's container does not start: {error}{hint}") from error
        output = b"".join(container.get_logs()).decode(errors="replace")
        if '"event": "running"' not in output:
            raise LabError(f"the network does not start: {output.strip().rpartition(chr(10))[2]}")
        self._copy_out(lab)
        host = container.get_container_host_ip()
        urls = {name: f"https://{host}:{container.get_exposed_port(port)}" for name, port in ports.items()}
        write_json(lab.endpoints, urls, 0o644)

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = None

    def watch(self) -> None:
        """Whether testcontainers' own reaper runs or not: that one knows no folders."""
        reap_after(session_label())

    def is_running(self) -> bool:
        if self._container is None:
            return False
        try:
            wrapped = self._container.get_wrapped_container()
            wrapped.reload()
        except Exception:  # of Docker's client, or requests: it is gone, or the engine is
            return False
        return wrapped.status == "running"

    def texts(self) -> dict[str, str]:
        """What was logged, by process; also of a container that has ended."""
        if self._container is None:
            return {}
        try:
            with self._archive(f"{INSIDE}/.lab/log") as archive:
                files = [one for one in archive.getmembers() if one.isfile()]
                octets = {unquote(Path(one.name).stem): archive.extractfile(one).read() for one in files}
        except Exception as error:  # of Docker's client, or requests
            raise LabError(f"the container's logs can't be read: {error}") from None
        return {name: octets[name].decode(errors="replace") for name in sorted(octets)}

    def _archive(self, path: str) -> tarfile.TarFile:
        chunks, _ = self._container.get_wrapped_container().get_archive(path)
        return tarfile.open(fileobj=io.BytesIO(b"".join(chunks)))

    def _copy_out(self, lab: LabFolder) -> None:
        """Certificates, revocation lists and the topology, as a lab on this host has them."""
        lab.make()
        for name in ("pki", "crl", "topology.toml"):
            with self._archive(f"{INSIDE}/.lab/{name}") as archive:
                # Given as an argument, Python 3.11.2 (Debian 12) would not know it.
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(lab.path)

    def _have_image(self) -> None:
        import docker

        client = docker.from_env()
        try:
            client.images.get(self._image)
        except docker.errors.ImageNotFound:
            if self._image != IMAGE:
                raise LabError(f"image: there is no {self._image} here: build or pull it first") from None
            if not (CHECKOUT / "services" / "Dockerfile").exists():
                raise LabError(
                    f"there is no image {self._image}: build it in a checkout of the lab with "
                    f"`docker build -t {IMAGE} -f services/Dockerfile --target network .`"
                ) from None
            command = ["docker", "build", "-q", "-t", IMAGE, "-f", "services/Dockerfile", "--target", "network", "."]
            built = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
            if built.returncode:
                raise LabError(f"the image {IMAGE} can't be built: {built.stderr.strip()[-500:]}") from None
        finally:
            client.close()


def _engine_answers() -> bool:
    import docker

    try:
        with contextlib.closing(docker.from_env()) as client:
            return bool(client.ping())
    except Exception:  # of Docker's client, or requests
        return False
