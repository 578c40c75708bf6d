"""A whole QKD network for a test: in one container through testcontainers, or on this host without Docker."""

from __future__ import annotations

import os
import shutil
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
from qkd_lab.pki.store import Pki
from qkd_lab.testing.contained import Contained
from qkd_lab.testing.described import Description
from qkd_lab.testing.embedded import Embedded
from qkd_lab.testing.handles import Fault, Kme, Link, Sae
from qkd_lab.testing.reaper import folder_prefix
from qkd_lab.topology import SHIPPED, Topology
from sae_demo.etsi_client import Etsi014Client, KmeRefused, KmeUnreachable

POLL_S = 0.05
START_WITHIN_S = 120.0


class QKDNetwork:
    """Sites with a KME, a QKDE and stores each, joined by quantum links, and SAEs that may ask for keys.

        with QKDNetwork() as net:
            with net.sae("a").session() as session:
                session.post(f"{net.kme('a').url}/api/v1/keys/sae-b/enc_keys", json={})

    embedded: on this host, with its PostgreSQL and Redis or those of the wheels; else in a container.
    sites, saes, links: see `Description`; topology: a TOML file, or a shipped one's name, instead of them.
    key_size_bits, max_keys: of every connection. prefilled: keys in every pool before the network is handed over.
    fast: an ideal link and small frames; without it, the physics of the shipped laboratory link.
    seed: the same key bits at every run, in the order in which each KME's blocks are made; the network then
    protects nothing, not even in play. environment: more settings (docs/configuration.md).
    image: a container image of the lab, instead of the one that is built from this checkout.

    Raises ValueError for arguments that can't be used, LabError where the network does not start.
    """

    def __init__(
        self,
        *,
        embedded: bool = False,
        sites: Sequence[str] = ("a", "b"),
        saes: Mapping[str, Sequence[str]] | None = None,
        links: Sequence[str] | None = None,
        topology: Path | str | None = None,
        key_size_bits: int = 256,
        max_keys: int = 1000,
        prefilled: int = 1,
        fast: bool = True,
        seed: int | None = None,
        environment: Mapping[str, str] | None = None,
        image: str | None = None,
    ) -> None:
        if topology is None:
            self._text = Description(sites, saes, links, key_size_bits, max_keys, fast).to_toml()
        else:
            self._text = _topology_file(topology).read_text(encoding="utf-8")
        if seed is not None and seed < 0:
            raise ValueError(f"seed: {seed} is negative; expected an integer, 0 or more")
        if not 0 <= prefilled <= max_keys:
            raise ValueError(f"prefilled: {prefilled} keys don't fit in a pool of {max_keys} (max_keys)")
        self._prefilled = prefilled
        settings = {**(environment or {}), **({} if seed is None else {"QKD_SEED": str(seed)})}
        self._runs: Embedded | Contained = Embedded(settings) if embedded else Contained(settings, image)
        self._operator: Operator | None = None
        self._folder: Path | None = None
        self._added: dict[str, str] = {}  # site by SAE

    def start(self) -> QKDNetwork:
        """Returns when every pool has `prefilled` keys."""
        self._folder = Path(tempfile.mkdtemp(prefix=folder_prefix(os.getpid())))
        try:
            topology = self._folder / "network.toml"
            topology.write_text(self._text, encoding="utf-8")
            self._runs.start(LabFolder(self._folder / ".lab"), topology, START_WITHIN_S)
            topology.unlink()
            self._operator = Operator(self.lab)
            for connection in self.topology.connections:
                self.wait_for_keys(self._prefilled, connection.master, connection.slave, START_WITHIN_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the network and removes all of it. Twice is fine."""
        if self._folder is not None:
            self._runs.stop()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._operator = None

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
        kme_id = self.topology.site(site).kme_id
        return Kme(kme_id, self.operator.endpoints[kme_id])

    def sae(self, name: str) -> Sae:
        """By its id, or by its site for the first SAE there."""
        site_name, sae_id = self._sae(name)
        folder = self.lab.identity(sae_id)
        return Sae(sae_id, self.kme(site_name), *(str(folder / f"{part}.pem") for part in ("cert", "key", "ca")))

    def client(self, name: str) -> Etsi014Client:
        """An ETSI GS QKD 014 client that is this SAE, pointed at its KME."""
        sae = self.sae(name)
        return Etsi014Client(sae.kme.url, sae.cert, sae.key, sae.ca, sae.kme.id)

    def add_sae(self, sae_id: str, site: str) -> Sae:
        """A new SAE, with a certificate of its own."""
        kme = self.kme(site)
        Pki(self.lab.pki, datetime.now(UTC)).issue_sae(sae_id, site)
        self.operator.call(kme.id, "POST", "/v1/saes", {"sae_id": sae_id})
        self._added[sae_id] = site
        return self.sae(sae_id)

    def register(self, master: str, slave: str, **members: int) -> str:
        """A connection between two SAEs; its id. `members` as in docs/protocols.md: key_size, max_keys_count, ..."""
        (site, master_id), (other, slave_id) = self._sae(master), self._sae(slave)
        sizes = {"key_size": 256, "max_keys_count": 1000, "max_key_per_request": 128, "max_SAE_ID_count": 0, **members}
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
        """Switches faults on at a site's KME, and all others off there (docs/faults.md); `with` ends them again."""
        kme = self.kme(site)
        self.operator.call(kme.id, "PUT", "/v1/faults", knobs)
        return Fault(kme.id, knobs, self.operator)

    def stored_key_count(self, master: str, slave: str) -> int:
        """Keys that the master could have at once."""
        with self.client(master) as client:
            return client.status(self._sae(slave)[1]).stored_key_count

    def wait_for_keys(self, count: int = 1, master: str = "a", slave: str = "b", timeout_s: float = 60.0) -> None:
        """Until the pool of a connection has `count` keys. Raises TimeoutError, which says what there is."""
        until = time.monotonic() + timeout_s
        why = "nothing was answered"
        while True:
            try:
                if (stored := self.stored_key_count(master, slave)) >= count:
                    return
                why = f"there are {stored}"
            except (KmeRefused, KmeUnreachable) as error:
                why = str(error)
            if time.monotonic() > until:
                raise TimeoutError(f"not {count} keys for {master} → {slave} within {timeout_s:g} s: {why}")
            time.sleep(POLL_S)

    def logs(self, process: str | None = None) -> str:
        """What the network's processes have logged, or one of them (`kme-a`, `qlink-a-b`, `supervisor`, ...)."""
        return self._runs.logs(process)

    def _sae(self, name: str) -> tuple[str, str]:
        """Site and id."""
        if name in self._added:
            return self._added[name], name
        for site in self.topology.sites:
            if name in site.saes:
                return site.name, name
        for site in self.topology.sites:
            if name == site.name and site.saes:
                return site.name, site.saes[0]
        known = [sae for site in self.topology.sites for sae in site.saes] + [*self._added]
        raise LabError(f"no SAE {name!r} in this network: it has {', '.join(known) or 'none'}")


def _topology_file(wanted: Path | str) -> Path:
    shipped = SHIPPED / f"{wanted}.toml"
    return shipped if shipped.exists() and not Path(wanted).exists() else Path(wanted)
