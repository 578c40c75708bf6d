"""What a process is told at start."""

import json
import logging
from datetime import datetime
from pathlib import Path

import pytest

from mutual_tls import request_id
from qkd_lab.processes import services
from qkd_lab.topology import SHIPPED, load
from services.process import log_formatter
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


def line_of(settings, message="x"):
    record = logging.LogRecord("kme", logging.INFO, "file", 1, message, (), None)
    return log_formatter(settings).format(record)


@pytest.mark.parametrize("process", ["kme-a", "kme-a-scheduler", "qkde-a", "sae-a"])
def test_a_sites_nickname_is_in_every_log_line_of_its_processes(settings, process):
    assert line_of(settings(process)).endswith("INFO [Alice, 100%] kme: x")


@pytest.mark.parametrize("process", ["kme-b", "qlink-a-b"])
def test_without_a_nickname_a_log_line_is_as_it_was(settings, process):
    assert line_of(settings(process)).endswith("INFO kme: x")


def test_a_log_line_names_the_request_it_belongs_to_and_none_outside_one(settings):
    with request_id.begun("request-of-sae-a"):
        assert line_of(settings("kme-b")).endswith("INFO kme: x [request-of-sae-a]")
    assert line_of(settings("kme-b")).endswith("INFO kme: x")


def test_a_json_log_line_is_one_object_whatever_its_message_has_in_it(settings):
    as_json = settings("kme-a", QKD_LOG_FORMAT="JSON")
    with request_id.begun("request-of-sae-a"):
        line = line_of(as_json, 'two\nlines and a "quote"')
    assert "\n" not in line
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("time")).tzinfo
    assert told == {
        "level": "INFO",
        "process": "kme-a",
        "logger": "kme",
        "message": 'two\nlines and a "quote"',
        "request_id": "request-of-sae-a",
    }


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
