"""A whole QKD network for a test: in one container through testcontainers, or on this host without Docker."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.authority import PkiError
from qkd_lab.pki.store import Pki
from qkd_lab.testing import arguments
from qkd_lab.testing.contained import Contained
from qkd_lab.testing.embedded import Embedded
from qkd_lab.testing.handles import Fault, Faults, Kme, Link, Sae
from qkd_lab.testing.reaper import folder_prefix, session_label
from qkd_lab.topology import Topology
from sae_demo.etsi_client import Etsi014Client, KmeRefused, KmeUnreachable

POLL_S = 0.05
START_WITHIN_S = 120.0


class QKDNetwork:
    """Sites with a KME, a QKDE and stores each, joined by quantum links, and SAEs that may ask for keys.

        with QKDNetwork() as net:
            with net.sae("a").session() as session:
                session.post(f"{net.kme('a').url}/api/v1/keys/sae-b/enc_keys", json={})

    embedded: on this host, with its PostgreSQL and Redis or those of the wheels; else in a container.
    sites (("a", "b") by default), saes, links, key_size_bits (256) and max_keys (1000) of every connection: see
    `Description`; fast (True): an ideal link and small frames; without it, the physics of the shipped laboratory link.
    topology: a TOML file, or a shipped one's name, instead of all of these.
    prefilled: keys in every pool before the network is handed over.
    seed: the same key bits at every run, in the order in which each KME's blocks are made; the network then
    protects nothing, not even in play. environment: more settings (docs/configuration.md).
    image: a container image of the lab, instead of the one that is built from this checkout.

    Raises ValueError for arguments that can't be used, LabError where the network does not start; every method raises
    LabError where it can't do what it was asked.
    """

    def __init__(
        self,
        *,
        embedded: bool = False,
        sites: Sequence[str] | None = None,
        saes: Mapping[str, Sequence[str]] | None = None,
        links: Sequence[str] | None = None,
        topology: Path | str | None = None,
        key_size_bits: int | None = None,
        max_keys: int | None = None,
        prefilled: int = 1,
        fast: bool | None = None,
        seed: int | None = None,
        environment: Mapping[str, str] | None = None,
        image: str | None = None,
    ) -> None:
        described = {
            "sites": sites,
            "saes": saes,
            "links": links,
            "key_size_bits": key_size_bits,
            "max_keys": max_keys,
            "fast": fast,
        }
        self._text = arguments.described_or(topology, {name: it for name, it in described.items() if it is not None})
        self._prefilled = arguments.prefilled(prefilled, self._text)
        is_embedded = arguments.yes_or_no("embedded", embedded)
        settings = arguments.settings(environment, seed, os.environ if is_embedded else {})
        self._runs: Embedded | Contained = Embedded(settings) if is_embedded else Contained(settings, image)
        self._operator: Operator | None = None
        self._folder: Path | None = None
        self._added: dict[str, str] = {}  # site by SAE
        self._faults: dict[str, Faults] = {}  # by KME
        self._said: dict[str, str] = {}  # by a network that did not start

    def start(self) -> QKDNetwork:
        """Returns when every pool has `prefilled` keys. What was logged by one that did not start, `logs` still has."""
        if self._folder is not None:
            raise LabError("the network runs already: stop() it first, or make another QKDNetwork")
        self._runs.watch()
        self._folder = Path(tempfile.mkdtemp(prefix=folder_prefix(session_label())))
        try:
            topology = self._folder / "network.toml"
            topology.write_text(self._text, encoding="utf-8")
            self._runs.start(LabFolder(self._folder / ".lab"), topology, START_WITHIN_S)
            topology.unlink()
            self._operator = Operator(self.lab)
            for connection in self.topology.connections:
                self.wait_for_keys(self._prefilled, connection.master, connection.slave, START_WITHIN_S)
        except BaseException as error:
            with contextlib.suppress(Exception):
                self._said = self._runs.texts()
            self.stop()
            if isinstance(error, LabError | TimeoutError):
                kept = "; logs() has what its processes said" if self._said else ""
                raise LabError(f"{error}{kept}") from None
            raise
        return self

    def stop(self) -> None:
        """Ends the network and removes all of it. Twice is fine."""
        folder, self._folder, self._operator = self._folder, None, None
        self._added, self._faults = {}, {}
        if folder is not None:
            self._runs.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def is_running(self) -> bool:
        """False before the start, after the end, and where all of it has died."""
        return self._operator is not None and self._runs.is_running()

    def __enter__(self) -> QKDNetwork:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """Where `qkd-lab` commands find the network: its `.lab` is in it."""
        if self._folder is None:
            raise LabError("the network does not run: use `with QKDNetwork() as net:`, or call start()")
        return self._folder

    @property
    def lab(self) -> LabFolder:
        return LabFolder(self.folder / ".lab")

    @property
    def operator(self) -> Operator:
        """All that an operator may ask of the processes."""
        if self._operator is None:
            raise LabError("the network does not run: use `with QKDNetwork() as net:`, or call start()")
        return self._operator

    @property
    def topology(self) -> Topology:
        return self.operator.topology

    def kme(self, site: str) -> Kme:
        found = [one for one in self.topology.sites if one.name == site]
        if not found:
            raise LabError(
                f"no site {site!r} in this network: it has {', '.join(one.name for one in self.topology.sites)}"
            )
        return Kme(found[0].kme_id, self.operator.endpoints[found[0].kme_id])

    def sae(self, name: str) -> Sae:
        """By its id, or by its site for the first SAE there."""
        site_name, sae_id = self._sae(name)
        folder = self.lab.identity(sae_id)
        return Sae(sae_id, self.kme(site_name), *(str(folder / f"{part}.pem") for part in ("cert", "key", "ca")))

    def client(self, name: str) -> Etsi014Client:
        """An ETSI GS QKD 014 client that is this SAE, pointed at its KME."""
        return self._client(name, 30.0)

    def _client(self, name: str, timeout_s: float) -> Etsi014Client:
        sae = self.sae(name)
        return Etsi014Client(sae.kme.url, sae.cert, sae.key, sae.ca, sae.kme.id, timeout_s=timeout_s)

    def add_sae(self, sae_id: str, site: str) -> Sae:
        """A new SAE, with a certificate of its own."""
        kme = self.kme(site)
        if not isinstance(sae_id, str):
            raise LabError(f"sae_id: expected a text, got {sae_id!r}")
        if sae_id in [one.name for one in self.topology.sites]:
            raise LabError(f"sae_id: {sae_id!r} stands for the first SAE of the site of that name: choose another id")
        try:
            Pki(self.lab.pki, datetime.now(UTC)).issue_sae(sae_id, site)
        except PkiError as error:
            raise LabError(str(error)) from None
        self.operator.call(kme.id, "POST", "/v1/saes", {"sae_id": sae_id})
        self._added[sae_id] = site
        return self.sae(sae_id)

    def register(self, master: str, slave: str, **members: int) -> str:
        """A connection between two SAEs; its id. `members` as in docs/protocols.md: key_size, max_keys_count, ..."""
        (site, master_id), (other, slave_id) = self._sae(master), self._sae(slave)
        sizes = {"key_size": 256, "max_keys_count": 1000, "max_key_per_request": 128, "max_SAE_ID_count": 0}
        for name, value in members.items():
            if name not in sizes:
                raise LabError(f"{name}: a connection has no such member, expected one of {', '.join(sizes)}")
            if not isinstance(value, int) or isinstance(value, bool):
                raise LabError(f"{name}: expected an integer, got {value!r}")
        sizes |= members
        if "max_key_per_request" not in members:
            sizes["max_key_per_request"] = min(128, sizes["max_keys_count"])
        body = {
            "source_KME_ID": self.kme(site).id,
            "target_KME_ID": self.kme(other).id,
            "master_SAE_ID": master_id,
            "slave_SAE_ID": slave_id,
            **sizes,
        }
        return self.operator.call(self.kme(site).id, "POST", "/register_connection", body)["connection_id"]

    def link(self, name: str) -> Link:
        link = self.operator.quantum_link(name)
        return Link(name, self.operator, asdict(link.physics))

    def fault(self, site: str, **knobs: Any) -> Fault:
        """Switches faults on at a site's KME, beside those that are on there (docs/faults.md); `with` ends them again.
        Without any, all are off there."""
        kme_id = self.kme(site).id
        return self._faults.setdefault(kme_id, Faults(kme_id, self.operator)).switch_on(knobs)

    def stored_key_count(self, master: str, slave: str) -> int:
        """Keys that the master could have at once."""
        return self._stored_key_count(master, slave, 30.0)

    def _stored_key_count(self, master: str, slave: str, timeout_s: float) -> int:
        with self._client(master, timeout_s) as client:
            return client.status(self._sae(slave)[1]).stored_key_count

    def wait_for_keys(self, count: int = 1, master: str = "a", slave: str = "b", timeout_s: float = 60.0) -> None:
        """Until the pool of a connection has `count` keys. Raises TimeoutError, which says what there is."""
        arguments.integer("count", count, range(sys.maxsize))
        until = time.monotonic() + arguments.seconds("timeout_s", timeout_s)
        why = "nothing was answered"
        while True:
            try:
                left_s = max(POLL_S, until - time.monotonic())
                if (stored := self._stored_key_count(master, slave, min(30.0, left_s))) >= count:
                    return
                why = f"there are {stored}"
            except (KmeRefused, KmeUnreachable) as error:
                why = str(error)
            if time.monotonic() > until:
                raise TimeoutError(f"not {count} keys for {master} → {slave} within {timeout_s:g} s: {why}")
            time.sleep(POLL_S)

    def logs(self, process: str | None = None) -> str:
        """What the network's processes have logged, or one of them (`kme-a`, `qlink-a-b`, `supervisor`, ...)."""
        texts = self.log_texts()
        if process is not None and process not in texts:
            raise LabError(f"no process {process!r} in this network: it has {', '.join(texts)}")
        return "".join(f"==> {name} <==\n{text}" for name, text in texts.items() if process in (None, name))

    def log_texts(self) -> dict[str, str]:
        """The same by process."""
        if self._folder is not None:
            return self._runs.texts()
        if not self._said:
            raise LabError("the network does not run: there are no logs")
        return self._said

    def _sae(self, name: str) -> tuple[str, str]:
        """Site and id."""
        if isinstance(name, str) and name in self._added:
            return self._added[name], name
        for site in self.topology.sites:
            if name in site.saes:
                return site.name, name
        for site in self.topology.sites:
            if name == site.name and site.saes:
                return site.name, site.saes[0]
        known = [sae for site in self.topology.sites for sae in site.saes] + [*self._added]
        raise LabError(f"no SAE {name!r} in this network: it has {', '.join(known) or 'none'}")
