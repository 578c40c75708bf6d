"""What Prometheus is given: whom to ask, and alerts, as `promtool` understands them."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from qkd_lab import addresses, monitoring
from qkd_lab.pki.store import Pki
from qkd_lab.processes import services
from qkd_lab.topology import SHIPPED, load

CHECKOUT = Path(__file__).resolve().parents[3]
CASES = Path(__file__).with_name("alerts_test.yml")
TWO_SITES = load(SHIPPED / "two-sites.toml")
URLS = addresses.endpoints(TWO_SITES, addresses.published(TWO_SITES))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here (Debian's package prometheus): alerts are not tried"
)


def promtool(*arguments, folder):
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("replicas", [False, True])
def test_the_scrape_configuration_is_one_that_prometheus_takes(tmp_path, replicas):
    Pki(tmp_path / "pki", datetime.now(UTC)).make(TWO_SITES)
    monitoring.write(tmp_path, TWO_SITES, URLS, replicas=replicas)
    promtool("check", "config", "prometheus.yml", folder=tmp_path)


@needs_promtool
def test_each_alert_fires_where_it_must_and_none_in_a_network_that_is_well(tmp_path):
    monitoring.write(tmp_path, TWO_SITES, URLS)
    shutil.copy(CASES, tmp_path)
    promtool("test", "rules", CASES.name, folder=tmp_path)


def test_there_is_a_case_for_each_alert_and_one_without_it():
    alerts = re.findall(r"alert: (\w+)", monitoring.ALERTS.read_text())
    tried = re.findall(r"alertname: (\w+)", CASES.read_text())
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts", CASES.read_text())
    assert len(alerts) > 10
    assert set(fired) == set(alerts)
    assert {name for name in alerts if tried.count(name) > fired.count(name)} == set(alerts)


def scraped(**options):
    """Jobs by name."""
    written = monitoring.scrape_configuration(TWO_SITES, URLS, **options)
    return {job["job_name"]: job for job in yaml.safe_load(written)["scrape_configs"]}


def test_every_process_is_asked_at_its_operators_listener():
    asked = {one["labels"]["process"]: one for one in scraped()["qkd-lab"]["static_configs"]}
    for process in services(TWO_SITES):
        assert asked[process.name]["targets"] == [URLS[f"{process.name}.ops"].removeprefix("https://")]
        assert asked[process.name]["labels"]["kind"] == process.kind
    assert asked["kme-b"]["labels"]["site"] == "b"


def test_each_replica_of_a_kme_is_asked_and_must_show_the_kmes_name():
    found = scraped(replicas=True)
    assert "kme-a" not in {one["labels"]["process"] for one in found["qkd-lab"]["static_configs"]}
    host, _, port = URLS["kme-a.ops"].removeprefix("https://").rpartition(":")
    (names,) = found["kme-a"]["dns_sd_configs"]
    assert (names["names"], names["type"], names["port"]) == ([host], "A", int(port))
    assert found["kme-a"]["tls_config"]["server_name"] == host
    labels = {one["target_label"]: one["replacement"] for one in found["kme-a"]["relabel_configs"]}
    assert labels == {"job": "qkd-lab", "process": "kme-a", "kind": "kme", "site": "a"}


def test_in_containers_prometheus_is_on_the_operators_network_and_on_loopback_of_the_host():
    compose = (CHECKOUT / "docker-compose.yml").read_text()
    service = compose.partition("\n  prometheus:\n")[2].partition("\n\n")[0]
    assert "networks: [ops, host]" in service
    assert 'ports: ["127.0.0.1:9090:9090"]' in service
    assert "profiles: [metrics]" in service
