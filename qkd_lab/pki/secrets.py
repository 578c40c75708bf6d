"""The secrets each process starts with: files in `.lab/secrets/<process>/`, never arguments or variables."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import quote

from qkd_lab.private_files import private_folder, write_private, write_where_different
from qkd_lab.processes import processes
from qkd_lab.topology import Topology

# A site's secret and the kinds of its processes that hold it. `kek`: key-encryption key, 32 bytes in hexadecimal.
SITE_SECRETS = {
    "kek": ("kme", "scheduler"),
    "postgres.password": ("postgres", "kme", "scheduler"),
    "redis.password": ("redis", "kme", "scheduler"),
    "spool-key": ("qkde",),
}


def secrets_folder(lab: Path, process: str) -> Path:
    return lab / "secrets" / quote(process, safe="")


def make_secrets(topology: Topology, lab: Path) -> None:
    """Makes the secrets that are missing; one that exists is never changed, since data may be encrypted under it."""
    for site in topology.sites:
        for secret, kinds in SITE_SECRETS.items():
            named = [p.name for p in processes(topology) if p.site == site.name and p.kind in kinds]
            files = [secrets_folder(lab, name) / secret for name in named]
            held = [file.read_text() for file in files if file.exists()]
            if not held:
                write_private(files[0], value := secrets.token_hex(32))
                held = [value]
            for file in files:
                write_where_different(file, held[0])
    for process in processes(topology):
        private_folder(secrets_folder(lab, process.name))
