"""The folder `.lab`: everything a lab keeps, in either way of running. One lab per folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from qkd_lab import monitoring
from qkd_lab.addresses import AddressBook
from qkd_lab.pki.secrets import make_secrets, secrets_folder
from qkd_lab.pki.store import Pki
from qkd_lab.private_files import private_folder, write_private, write_where_different
from qkd_lab.topology import Topology, TopologyError, load


class LabError(Exception):
    """A command can't do what it was asked; one line that names the cause and what to do."""


@dataclass(frozen=True)
class LabFolder:
    """`path` is `.lab` itself."""

    path: Path

    @classmethod
    def here(cls) -> LabFolder:
        return cls(Path.cwd() / ".lab")

    @property
    def topology(self) -> Path:
        return self.path / "topology.toml"

    @property
    def addresses(self) -> Path:
        return self.path / "addresses.json"

    @property
    def endpoints(self) -> Path:
        return self.path / "endpoints.json"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def revocations(self) -> Path:
        """The authorities' revocation lists: nothing secret, and mounted as it is in every container."""
        return self.path / "crl"

    def identity(self, name: str) -> Path:
        return self.pki / quote(name, safe="")

    def secrets(self, process: str) -> Path:
        return secrets_folder(self.path, process)

    def log(self, process: str) -> Path:
        return self.path / "log" / f"{quote(process, safe='')}.log"

    @property
    def keys(self) -> Path:
        """Where key files arrive, `<link>/<site>`, for links that are fed by them."""
        return self.path / "keys"

    def process_state(self, process: str) -> Path:
        """What a process must not lose, in a folder of its own."""
        return self.path / "state" / quote(process, safe="")

    def metrics(self, process: str) -> Path:
        """Where its workers count together; nothing that has to last."""
        return self.path / "metrics" / quote(process, safe="")

    def make(self) -> None:
        # Open, so that unprivileged database servers reach their data in it; secrets lie in folders of mode 0700.
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.path / "log").mkdir(mode=0o755, exist_ok=True)
        write_where_different(self.path / ".gitignore", "*\n", 0o644)

    def keep_topology(self, wanted: Path) -> Topology:
        """The topology of this folder's lab: `wanted` for a new lab; for one that exists it must be the same."""
        topology = load(self.topology if wanted == self.topology else wanted)
        if self.topology.exists() and load(self.topology) != topology:
            raise TopologyError(
                f"{wanted}: another topology than that of the lab in {self.path}; "
                "use another folder, or remove .lab to start anew"
            )
        if wanted != self.topology:
            write_where_different(self.topology, wanted.read_bytes(), 0o644)
        return topology

    def prepare(
        self, topology: Topology, book: AddressBook, urls: dict[str, str], more_hosts: Iterable[str] = ()
    ) -> None:
        """Certificates, secrets, the address book and the endpoints: what the processes need before they start.

        `more_hosts`: names and addresses that the certificates of listeners carry beside their own.
        """
        Pki(self.pki, datetime.now(UTC)).make(topology, more_hosts)
        make_secrets(topology, self.path)
        for link in topology.links:
            for site in () if link.is_quantum else (link.alice, link.bob):
                if site not in dict(link.folders):
                    private_folder(link.folder_at(site, self.keys))
        write_json(self.addresses, book, 0o644)
        write_json(self.endpoints, urls, 0o644)
        monitoring.write(self.path, topology, urls)

    def read_endpoints(self) -> dict[str, str]:
        """Raises LabError where there is no lab, in words a user can act on."""
        try:
            return json.loads(self.endpoints.read_text())
        except FileNotFoundError:
            raise LabError(
                f"no lab in {self.path.parent}: start one here with `qkd-lab up` (or `docker compose up`), "
                "or change to its folder"
            ) from None
        except (OSError, ValueError) as error:
            raise LabError(f"{self.endpoints} can't be read: {error}") from None

    def read_state(self) -> dict:
        """What the supervisor last wrote; empty where there never was one."""
        return read_json(self.state)

    @property
    def in_containers(self) -> bool:
        """Whether the lab of this folder is the one of docker-compose.yml: its address book names hosts."""
        listeners = [address for process in self.read_addresses().values() for address in process.values()]
        return any(not address.startswith("127.0.0.1:") for address in listeners)

    def read_addresses(self) -> AddressBook:
        return read_json(self.addresses)

    def give_to(self, uid: int, gid: int) -> None:
        """Makes another user the owner: a lab made by root in a container belongs to the folder's owner.

        Not of `data`: what an embedded lab keeps there belongs to its database servers.
        """
        for folder, folders, files in os.walk(self.path):
            if Path(folder) == self.path and "data" in folders:
                folders.remove("data")
            for path in (Path(folder), *(Path(folder) / name for name in files)):
                os.chown(path, uid, gid, follow_symlinks=False)


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read: {error}") from None


def write_json(path: Path, content: object, mode: int = 0o600) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n", mode)
