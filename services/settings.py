"""What a process is told at start: the environment names it, and points at topology, addresses, certificates, secrets.

This is the only place of the services that reads the environment. What is wrong is said all at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mutual_tls.client import Peer
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from qkd_lab import configuration, setting_tables
from qkd_lab.topology import Topology, TopologyError, load

from .limits import Limits
from .own_addresses import own_addresses

DATABASE_FOLDER = Path(__file__).resolve().parent.parent / "db"


class SettingsError(Exception):
    """The process can't start as it was told to; the message says why, a line per cause."""


@dataclass(frozen=True)
class Settings:
    """`process` is the process's name in the address book, for example `kme-a-scheduler`. Key files of a link without
    a folder of its own arrive at `keys/<link>/<site>`."""

    process: str
    topology_file: Path
    addresses_file: Path
    pki: Path
    secrets: Path
    state: Path
    more_hosts: tuple[str, ...]
    log_level: str
    log_format: str
    worker_count: int
    limits: Limits
    keys: Path
    appendfsync: str  # what Redis is meant to have
    kme: Mapping[str, Any]  # by the names of kme.model.KmeSettings
    faults: Mapping[str, Any]  # by those of kme.faults.Faults
    metrics: Path | None = None
    seed: int | None = None
    detours_file: Path | None = None
    revocations: Path | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        problems: list[str] = []
        values = configuration.environment(environ, problems)
        found = {name: one.value for name, one in values.items()}
        table: Mapping[str, Any] = {}
        if found["QKD_TOPOLOGY"]:
            try:
                table = load(Path(found["QKD_TOPOLOGY"])).kme
            except TopologyError as error:
                problems += str(error).splitlines()
        kme = configuration.kme_settings(table, environ, problems)
        if found["QKD_WORKERS"] > 1 and not found["PROMETHEUS_MULTIPROC_DIR"]:
            if values["QKD_WORKERS"].source != "default":
                problems.append("PROMETHEUS_MULTIPROC_DIR is not set: several workers need a folder to count in")
            found["QKD_WORKERS"] = 1
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(
            found["QKD_PROCESS"],
            *(Path(found[f"QKD_{name}"]) for name in ("TOPOLOGY", "ADDRESSES", "PKI", "SECRETS", "STATE")),
            more_hosts=tuple(found["QKD_ALSO_AT"].split()),
            log_level=found["QKD_LOG_LEVEL"],
            log_format=found["QKD_LOG_FORMAT"],
            worker_count=found["QKD_WORKERS"],
            limits=Limits(
                *(found[f"QKD_{name}_TIMEOUT_S"] for name in ("HANDSHAKE", "IDLE", "REQUEST", "ANSWER")),
                connection_count=found["QKD_MAX_CONNECTIONS"],
            ),
            keys=Path(found["QKD_KEYS"] or Path(found["QKD_STATE"]) / "keys"),
            appendfsync=found["QKD_APPENDFSYNC"],
            kme={one.name: kme[one.name].value for one in setting_tables.KME},
            faults={one.name.removeprefix("fault_"): kme[one.name].value for one in setting_tables.FAULTS},
            metrics=Path(found["PROMETHEUS_MULTIPROC_DIR"]) if found["PROMETHEUS_MULTIPROC_DIR"] else None,
            seed=found["QKD_SEED"],
            detours_file=Path(found["QKD_DETOURS"]) if found["QKD_DETOURS"] else None,
            revocations=Path(found["QKD_CRLS"]) if found["QKD_CRLS"] else None,
        )

    @cached_property
    def topology(self) -> Topology:
        return load(self.topology_file)

    @cached_property
    def addresses(self) -> dict[str, dict[str, str]]:
        try:
            return json.loads(self.addresses_file.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"QKD_ADDRESSES: {self.addresses_file} can't be read: {error}") from error

    @cached_property
    def detours(self) -> dict[str, dict[str, str]]:
        """Other addresses to dial than those in the book, in the same form: a test's proxies stand there."""
        if self.detours_file is None:
            return {}
        try:
            return json.loads(self.detours_file.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"QKD_DETOURS: {self.detours_file} can't be read: {error}") from error

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials.in_folder(self._identity_folder(self.process), self.revocations)

    def credentials_of(self, name: str) -> Credentials:
        """Another certificate of the same holder: a demo SAE has one for its KME and one for other demo SAEs."""
        return Credentials.in_folder(self._identity_folder(name), self.revocations)

    def authority(self, name: str) -> Path:
        """The certificate of the one authority a listener trusts."""
        return self.credentials.certificate.parent / "trust" / f"{quote(name, safe='')}.pem"

    def address(self, process: str, listener: str) -> str:
        """Where a listener is dialled."""
        return self.detours.get(process, {}).get(listener) or self._in_book(process, listener)

    def _in_book(self, process: str, listener: str) -> str:
        try:
            return self.addresses[process][listener]
        except KeyError:
            raise SettingsError(f"{self.addresses_file} has no address of {process}, listener {listener}") from None

    def bind(self, listener: str) -> tuple[str, ...]:
        """Where this process's own listener listens, `ip:port` each.

        The very address in the book, so that it is reached from that network alone, and the further names that
        QKD_ALSO_AT gives it (`sae=kme-a.host`): where the host publishes it, or on a second network of its own.
        A name's other addresses are those of replicas.
        """
        name, _, port = self._in_book(self.process, listener).rpartition(":")
        more = [host for where, _, host in (entry.partition("=") for entry in self.more_hosts) if where == listener]
        found: dict[str, None] = {}
        for host in (name, *more):
            try:
                found |= dict.fromkeys(own_addresses(host))
            except OSError as error:
                raise SettingsError(f"listener {listener}: {host} is no name of this host: {error.strerror}") from error
        return tuple(f"{ip}:{port}" for ip in found)

    def peer(self, process: str, listener: str, identity: Identity, *, timeout_s: float = 10.0, **options: Any) -> Peer:
        return Peer(self.address(process, listener), identity, self.credentials, timeout_s=timeout_s, **options)

    def secret(self, name: str) -> str:
        """A secret of this process: the content of a file, never an argument or an environment variable."""
        path = self.secrets / name
        try:
            return path.read_text().strip()
        except OSError as error:
            raise SettingsError(f"the secret {path} can't be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise SettingsError(f"the secret {path} is no text") from None

    def _identity_folder(self, name: str) -> Path:
        return self.pki / quote(name, safe="")
