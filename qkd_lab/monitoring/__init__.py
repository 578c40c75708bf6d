"""What a Prometheus needs to watch a lab: whom to ask, its certificate, and the alerts (docs/observing.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from qkd_lab.private_files import write_where_different
from qkd_lab.processes import services
from qkd_lab.topology import Topology

ALERTS = Path(__file__).with_name("alerts.yml")
CERTIFICATE = "prometheus"  # its folder in `.lab/pki`

HEAD = """\
# Made from the topology. All paths are relative to this file: prometheus --config.file=prometheus.yml
global: {scrape_interval: 10s, scrape_timeout: 9s, evaluation_interval: 10s}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: qkd-lab
    scheme: https
    tls_config: {ca_file: pki/%(name)s/ca.pem, cert_file: pki/%(name)s/cert.pem, key_file: pki/%(name)s/key.pem}
    static_configs:
"""


def scrape_configuration(topology: Topology, urls: Mapping[str, str]) -> str:
    """In YAML; `urls` is what `.lab/endpoints.json` holds: every operator listener as `<process>.ops`."""
    lines = []
    for process in services(topology):
        if (address := urls.get(f"{process.name}.ops")) is None:
            continue
        labels = {"process": process.name, "kind": process.kind} | ({"site": process.site} if process.site else {})
        target = {"targets": [address.removeprefix("https://")], "labels": labels}
        lines.append(f"      - {json.dumps(target)}\n")
    return HEAD % {"name": CERTIFICATE} + "".join(lines)


def write(folder: Path, topology: Topology, urls: Mapping[str, str]) -> None:
    """Configuration and alerts, into the folder that has `pki/prometheus`."""
    write_where_different(folder / "prometheus.yml", scrape_configuration(topology, urls), 0o644)
    write_where_different(folder / "alerts.yml", ALERTS.read_bytes(), 0o644)
