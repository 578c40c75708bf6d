"""Root's one-shot in `docker compose up`: makes `.lab/` on the host, and gives every container what is its own.

`/lab` is the folder of docker-compose.yml on the host; `/identities/<process>` is the volume that one process mounts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from qkd_lab import addresses, configuration, monitoring
from qkd_lab.embedded.stores import redis_configuration
from qkd_lab.lab_folder import LabError, LabFolder, write_json
from qkd_lab.pki.authority import PkiError
from qkd_lab.pki.secrets import renew_pre_shared_key
from qkd_lab.processes import DASHBOARD, Process, processes
from qkd_lab.topology import SHIPPED, Topology, TopologyError

FOLDER = Path("/lab")
IDENTITIES = Path("/identities")
SERVICE_UID = 10001  # the user `lab` of services/Dockerfile
PROMETHEUS_UID = 65534  # the user `nobody` of its image
TOOL = "tool"


def main() -> None:
    lab = LabFolder(FOLDER / ".lab")
    owner = FOLDER.stat()
    try:
        lab.make()
        refuse_beside_an_embedded_lab(lab)
        topology = lab.keep_topology(lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml")
        lab.prepare(topology, addresses.compose(topology), addresses.endpoints(topology, addresses.published(topology)))
        renew_pre_shared_keys(lab, topology, IDENTITIES)
        appendfsync = configuration.read("QKD_APPENDFSYNC", os.environ)
    except (LabError, PkiError, TopologyError, configuration.ConfigurationError) as error:
        sys.exit(str(error))
    finally:
        lab.give_to(owner.st_uid, owner.st_gid)
    for process in processes(topology):
        if process.module:
            give_service(lab, process, IDENTITIES / process.name)
        else:
            give_store(lab, process, IDENTITIES / process.name, appendfsync)
    give_prometheus(lab, topology, IDENTITIES / "prometheus")
    give_tool(lab, topology, IDENTITIES / TOOL)
    if page := lab.read_endpoints().get(DASHBOARD):
        print(f"the dashboard will be at {page}; `qkd-lab dashboard` prints a link that may act")
    print(f"the lab's certificates and endpoints are in {lab.path.name}/ of this folder")


def refuse_beside_an_embedded_lab(lab: LabFolder) -> None:
    """Its supervisor holds a lock as long as it runs."""
    with open(lab.lock, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("a lab runs in this folder without containers: `qkd-lab down` stops it") from None


def renew_pre_shared_keys(lab: LabFolder, topology: Topology, identities: Path) -> None:
    """A new one for each link whose two QKDEs have new volumes: after `docker compose down -v` neither end remembers
    which pads of the old one it has used.
    """
    new = {site.name for site in topology.sites if not (identities / site.qkde_id / "secrets").exists()}
    for link in topology.quantum_links:
        if {link.alice, link.bob} <= new:
            renew_pre_shared_key(topology, lab.path, link)


def give_service(lab: LabFolder, process: Process, volume: Path) -> None:
    """Its own certificate and secrets, the authorities it trusts, the topology and the address book: nothing else."""
    for name in {process.name, process.certificate, "probe"}:
        if lab.identity(name).is_dir():
            copy(lab.identity(name), volume / "pki" / quote(name, safe=""))
    copy(lab.secrets(process.name), volume / "secrets")
    for file in (lab.topology, lab.addresses):
        shutil.copy(file, volume / file.name)
    own(volume, SERVICE_UID)


def give_store(lab: LabFolder, process: Process, volume: Path, appendfsync: str) -> None:
    """A database's password, in the form its image takes; the volume is mounted in that container alone."""
    (password_file,) = lab.secrets(process.name).glob("*.password")
    if process.kind == "postgres":
        content, target = password_file.read_text(), volume / password_file.name
    else:
        settings = {"bind": "0.0.0.0", "appendfsync": appendfsync}
        content, target = redis_configuration(password_file.read_text(), **settings), volume / "redis.conf"
    target.write_text(content)
    target.chmod(0o444)  # each image has its own user for its server


def give_tool(lab: LabFolder, topology: Topology, volume: Path) -> None:
    """A `.lab/` for `qkd-lab` commands in the network: the operator and the demo SAEs, with addresses of containers."""
    inside = LabFolder(volume / ".lab")
    inside.make()
    inside.revocations.mkdir(mode=0o755, exist_ok=True)  # the mount point of .lab/crl
    shutil.copy(lab.topology, inside.topology)
    write_json(inside.endpoints, addresses.endpoints(topology, addresses.compose(topology)), 0o644)
    for name in ("operator", *(sae for site in topology.sites for sae in site.saes)):
        copy(lab.identity(name), inside.identity(name))
    own(volume, SERVICE_UID)


def give_prometheus(lab: LabFolder, topology: Topology, volume: Path) -> None:
    """Whom to ask, and the certificate it asks with: `docker compose --profile metrics up`."""
    copy(lab.identity(monitoring.CERTIFICATE), volume / "pki" / monitoring.CERTIFICATE)
    urls = addresses.endpoints(topology, addresses.compose(topology))
    monitoring.write(volume, topology, urls, replicas=True)  # a KME of one container is one with one replica
    own(volume, PROMETHEUS_UID)


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def own(folder: Path, uid: int) -> None:
    for parent, _, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent) / name for name in files)):
            os.chown(path, uid, uid)


if __name__ == "__main__":
    main()
