"""The secrets each process starts with: files in `.lab/secrets/<process>/`, never arguments or variables.

A site's are shared by processes of that site alone, but for one: a link's pre-shared key, with which its two QKDEs
authenticate their first rounds.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import quote

from qkd_lab.private_files import private_folder, write_private, write_where_different
from qkd_lab.processes import DASHBOARD, processes
from qkd_lab.topology import Link, Topology

# A site's secret and the kinds of its processes that hold it. `kek`: key-encryption key, 32 bytes in hexadecimal.
SITE_SECRETS = {
    "kek": ("kme", "scheduler"),
    "postgres.password": ("postgres", "kme", "scheduler"),
    "redis.password": ("redis", "kme", "scheduler"),
    "spool-key": ("qkde",),
}
SECRET_BYTES = 32
SESSION_TOKEN = "session-token"  # who has it may act from the dashboard
PRE_SHARED_KEY_BYTES = 8 + 32 * 64  # a public name, and 32 pads of a round: see qkde/bb84/pads.py


def secrets_folder(lab: Path, process: str) -> Path:
    return lab / "secrets" / quote(process, safe="")


def make_secrets(topology: Topology, lab: Path) -> None:
    """Makes the secrets that are missing; one that exists is never changed, since data may be encrypted under it."""
    for site in topology.sites:
        for secret, kinds in SITE_SECRETS.items():
            named = [p.name for p in processes(topology) if p.site == site.name and p.kind in kinds]
            if named:
                _share(lab, named, secret, SECRET_BYTES)
    for link in topology.quantum_links:
        _share(lab, _ends(topology, link), link.pre_shared_key, PRE_SHARED_KEY_BYTES)
    if topology.dashboard:
        _share(lab, [DASHBOARD], SESSION_TOKEN, SECRET_BYTES)
    for process in processes(topology):
        private_folder(secrets_folder(lab, process.name))


def renew_pre_shared_key(topology: Topology, lab: Path, link: Link) -> bytes:
    """Another one in its place."""
    for name in _ends(topology, link):
        (secrets_folder(lab, name) / link.pre_shared_key).unlink(missing_ok=True)
    return bytes.fromhex(_share(lab, _ends(topology, link), link.pre_shared_key, PRE_SHARED_KEY_BYTES))


def _ends(topology: Topology, link: Link) -> list[str]:
    return [site.qkde_id for site in topology.sites if site.name in (link.alice, link.bob)]


def _share(lab: Path, holders: list[str], secret: str, byte_count: int) -> str:
    files = [secrets_folder(lab, name) / secret for name in holders]
    held = [file.read_text() for file in files if file.exists()]
    if not held:
        write_private(files[0], value := secrets.token_hex(byte_count))
        held = [value]
    for file in files:
        write_where_different(file, held[0])
    return held[0]
