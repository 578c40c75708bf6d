"""What a process is told at start, and how it says that it can't start so."""

import subprocess
import sys
from pathlib import Path

import pytest

from qkd_lab.topology import SHIPPED, load
from services.kme_parts import kme_settings
from services.settings import Settings, SettingsError

CHECKOUT = Path(__file__).resolve().parents[3]
TWO_SITES = SHIPPED / "two-sites.toml"


@pytest.fixture
def environ(tmp_path):
    folders = {f"QKD_{name}": str(tmp_path / name.lower()) for name in ("ADDRESSES", "PKI", "SECRETS", "STATE")}
    return {"QKD_PROCESS": "kme-a", "QKD_TOPOLOGY": str(TWO_SITES), **folders}


def test_a_process_takes_its_settings_from_the_environment(environ, tmp_path):
    more = {"QKD_WORKERS": "3", "QKD_LOG_LEVEL": "warning", "QKD_ALSO_AT": "sae=kme-a.host ops=kme-a.host"}
    more |= {"PROMETHEUS_MULTIPROC_DIR": "/tmp/metrics"}
    settings = Settings.from_environment(environ | more)
    assert (settings.process, settings.pki, settings.worker_count) == ("kme-a", tmp_path / "pki", 3)
    assert (settings.log_level, settings.more_hosts) == ("WARNING", ("sae=kme-a.host", "ops=kme-a.host"))
    default = Settings.from_environment(environ)
    assert (default.worker_count, default.log_level, default.more_hosts) == (1, "INFO", ())
    counted = Settings.from_environment(environ | {"PROMETHEUS_MULTIPROC_DIR": "/tmp/metrics"})
    assert counted.worker_count == 2


def test_several_workers_are_refused_without_a_folder_to_count_together_in(environ):
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR is not set"):
        Settings.from_environment(environ | {"QKD_WORKERS": "2"})


def test_a_kme_runs_with_what_file_and_environment_say(environ, tmp_path):
    file = tmp_path / "net.toml"
    file.write_text(TWO_SITES.read_text() + "\n[kme]\nreserve_bits = 1000\nlow_watermark = 0.25\n")
    changed = {"QKD_TOPOLOGY": str(file), "QKD_KME_LOW_WATERMARK": "0.75"}
    settings = Settings.from_environment(environ | changed)
    described = kme_settings(settings.topology, "a", settings.keys, settings.kme)
    assert (described.reserve_bits, described.low_watermark) == (1000, 0.75)
    assert described.on_demand_limit == kme_settings(load(TWO_SITES), "a", settings.keys).on_demand_limit


def test_all_that_is_wrong_is_said_at_once(environ, tmp_path):
    file = tmp_path / "net.toml"
    file.write_text(TWO_SITES.read_text() + "\n[kme]\nreserve_bits = -1\n")
    del environ["QKD_PKI"]
    wrong = {"QKD_TOPOLOGY": str(file), "QKD_WORKERS": "65", "QKD_KME_ON_DEMAND_LIMIT": "0", "QKD_LOG_LEVL": "x"}
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environ | wrong)
    lines = str(refused.value).splitlines()
    assert len(lines) == 5
    for words in ("QKD_PKI is not set", "QKD_WORKERS", "QKD_KME_ON_DEMAND_LIMIT", "QKD_LOG_LEVL", "reserve_bits"):
        assert any(words in line for line in lines)


@pytest.mark.parametrize(
    "process", ["kme_api", "kme_scheduler", "qkde_node", "qlink_node", "sae_node", "dashboard_node"]
)
def test_a_process_that_is_wrongly_configured_ends_with_status_2_and_a_line_for_each_cause(environ, process):
    wrong = {"QKD_TOPOLOGY": "/nowhere.toml", "QKD_WORKERS": "0", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-m", f"services.{process}"], env=environ | wrong, cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 2 and "Traceback" not in done.stderr
    assert "/nowhere.toml" in done.stderr and "QKD_WORKERS" in done.stderr
