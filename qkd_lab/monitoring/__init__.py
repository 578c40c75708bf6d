"""What a Prometheus needs to watch a lab: whom to ask, its certificate, and the alerts (docs/observing.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qkd_lab.private_files import write_where_different
from qkd_lab.processes import services
from qkd_lab.topology import Topology

ALERTS = Path(__file__).with_name("alerts.yml")
CERTIFICATE = "prometheus"  # its folder in `.lab/pki`

HEAD = "# Made from the topology. All paths are relative to this file: prometheus --config.file=prometheus.yml\n"
JOB = "qkd-lab"
TLS = {name: f"pki/{CERTIFICATE}/{name.removesuffix('_file')}.pem" for name in ("ca_file", "cert_file", "key_file")}


def scrape_configuration(topology: Topology, urls: Mapping[str, str], *, replicas: bool = False) -> str:
    """JSON, which is YAML; `urls` is what `.lab/endpoints.json` holds: every operator listener as `<process>.ops`.
    `replicas`: a KME's host name there leads to all containers that serve it. Each counts for itself and is asked."""
    targets, by_name = [], []
    for process in services(topology):
        if (url := urls.get(f"{process.name}.ops")) is None:
            continue
        address = url.removeprefix("https://")
        labels = {"process": process.name, "kind": process.kind} | ({"site": process.site} if process.site else {})
        if replicas and process.kind == "kme":
            by_name.append(_all_behind(address, labels))
        else:
            targets.append({"targets": [address], "labels": labels})
    times = {"scrape_interval": "10s", "scrape_timeout": "9s", "evaluation_interval": "10s"}
    jobs = [{"job_name": JOB, "scheme": "https", "tls_config": TLS, "static_configs": targets}, *by_name]
    return HEAD + json.dumps({"global": times, "rule_files": [ALERTS.name], "scrape_configs": jobs}, indent=1) + "\n"


def _all_behind(address: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A job of its own, since it is a job's setting which name certificates must have."""
    host, _, port = address.rpartition(":")
    return {
        "job_name": labels["process"],
        "scheme": "https",
        "tls_config": TLS | {"server_name": host},
        "dns_sd_configs": [{"names": [host], "type": "A", "port": int(port), "refresh_interval": "5s"}],
        "relabel_configs": [
            {"target_label": name, "replacement": value} for name, value in ({"job": JOB} | labels).items()
        ],
    }


def write(folder: Path, topology: Topology, urls: Mapping[str, str], *, replicas: bool = False) -> None:
    """Configuration and alerts, into the folder that has `pki/prometheus`."""
    write_where_different(folder / "prometheus.yml", scrape_configuration(topology, urls, replicas=replicas), 0o644)
    write_where_different(folder / "alerts.yml", ALERTS.read_bytes(), 0o644)
