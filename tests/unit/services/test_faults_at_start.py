"""A KME makes from its start the faults that its settings say, and says so."""

from unittest.mock import MagicMock

import pytest

from kme.faults import Faults
from kme.model import Connection, PoolStatus
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity
from qkd_lab.addresses import embedded, endpoints
from qkd_lab.lab_folder import LabFolder
from qkd_lab.setting_tables import FAULTS
from qkd_lab.topology import SHIPPED
from services import kme_api
from services.settings import Settings, SettingsError


class NoKeys:
    def status(self, caller, slave):
        return PoolStatus(Connection("kme-a", "kme-b", caller, slave), 3)


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """Of kme-a in a lab that is not running, without its stores."""
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    topology = lab.keep_topology(SHIPPED / "two-sites.toml")
    book = embedded(topology, lambda wanted, known: 1)
    lab.prepare(topology, book, endpoints(topology, book))
    monkeypatch.setattr(kme_api, "entity", lambda *_, **__: MagicMock(delivery=NoKeys()))
    return {
        "QKD_PROCESS": "kme-a",
        "QKD_TOPOLOGY": str(lab.topology),
        "QKD_ADDRESSES": str(lab.addresses),
        "QKD_PKI": str(lab.pki),
        "QKD_SECRETS": str(lab.secrets("kme-a")),
        "QKD_STATE": str(lab.path),
    }


def status_of(server) -> int:
    sae = next(listener for listener in server._listeners if listener.name == "sae").app()
    client = sae.test_client()
    return client.get("/api/v1/keys/sae-b/status", environ_overrides={CALLER: Identity("sae", "sae-a")}).status_code


def test_the_settings_are_the_knobs_and_all_are_off():
    of_settings = {one.name.removeprefix("fault_"): (one.kind, one.default) for one in FAULTS}
    assert of_settings == {name: (type(value), value) for name, value in vars(Faults()).items()}
    assert not Faults().on


def test_without_a_fault_a_kme_says_nothing_of_faults(environ, caplog):
    assert status_of(kme_api.make(Settings.from_environment(environ))) == 200
    assert "fault" not in caplog.text


def test_the_environment_makes_faults_from_the_start_and_the_log_names_them(environ, caplog):
    chosen = {"QKD_KME_FAULT_REFUSE_PERCENTAGE": "100", "QKD_KME_FAULT_EMPTY_POOLS": "true"}
    assert status_of(kme_api.make(Settings.from_environment(environ | chosen))) == 503
    assert "kme-a makes faults on purpose at its SAE listener: refuse_percentage 100.0, empty_pools True" in caplog.text


def test_the_topology_file_makes_faults_too(environ, tmp_path):
    file = tmp_path / ".lab" / "topology.toml"
    file.write_text(file.read_text() + "\n[kme]\nfault_refuse_percentage = 100\n")
    assert status_of(kme_api.make(Settings.from_environment(environ))) == 503


def test_a_fault_out_of_its_range_is_refused_at_the_start(environ):
    with pytest.raises(SettingsError, match="QKD_KME_FAULT_DELAY_S is '61': expected a number from 0 to 60"):
        Settings.from_environment(environ | {"QKD_KME_FAULT_DELAY_S": "61"})
