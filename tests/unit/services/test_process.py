"""What a process is told at start."""

from pathlib import Path

import pytest

from qkd_lab.processes import services
from qkd_lab.topology import SHIPPED, load
from services.process import LOG_FORMAT, log_format
from services.settings import Settings

TWO_SITES = SHIPPED / "two-sites.toml"


@pytest.fixture
def settings(tmp_path):
    def make(process, **more):
        file = tmp_path / "topology.toml"
        file.write_text(TWO_SITES.read_text().replace('name = "a"\n', 'name = "a"\nnickname = "Alice, 100%"\n', 1))
        told = {"QKD_PROCESS": process, "QKD_TOPOLOGY": str(file), "QKD_PKI": "/identity/pki", "QKD_STATE": "/state"}
        return Settings.from_environment({**told, "QKD_ADDRESSES": "/a", "QKD_SECRETS": "/s", **more})

    return make


@pytest.mark.parametrize("process", ["kme-a", "kme-a-scheduler", "qkde-a", "sae-a"])
def test_a_sites_nickname_is_in_every_log_line_of_its_processes(settings, process):
    line = log_format(settings(process)) % {"asctime": "now", "levelname": "INFO", "name": "kme", "message": "x"}
    assert line == "now INFO [Alice, 100%] kme: x"


@pytest.mark.parametrize("process", ["kme-b", "qlink-a-b"])
def test_without_a_nickname_a_log_line_is_as_it_was(settings, process):
    assert log_format(settings(process)) == LOG_FORMAT


def test_revocation_lists_are_beside_the_certificates_unless_it_is_said_where(settings):
    assert settings("kme-a").credentials.revocations == Path("/identity/crl")
    assert settings("kme-a", QKD_CRLS="/crl").credentials.revocations == Path("/crl")
    assert settings("sae-a", QKD_CRLS="/crl").credentials_of("sae-a-app").revocations == Path("/crl")


def test_every_container_reads_the_folder_of_revocation_lists_itself():
    compose = (Path(__file__).resolve().parents[3] / "docker-compose.yml").read_text()
    assert "QKD_CRLS: /crl\n" in compose
    for process in services(load(TWO_SITES)):
        assert f"volumes: [{process.name}-identity:/identity:ro, ./.lab/crl:/crl:ro" in compose, process.name
    assert "volumes: [tool-identity:/identity:ro, ./.lab/crl:/identity/.lab/crl:ro]" in compose
