"""How durable the lab's stores are set up, and what `qkd-lab status` says of the witness."""

from __future__ import annotations

import pytest

from qkd_lab import configuration
from qkd_lab.cli import network
from qkd_lab.topology import SHIPPED
from services.settings import Settings, SettingsError


def environ(**more):
    names = ("QKD_PROCESS", "QKD_TOPOLOGY", "QKD_ADDRESSES", "QKD_PKI", "QKD_SECRETS", "QKD_STATE")
    return dict.fromkeys(names, "x") | {"QKD_TOPOLOGY": str(SHIPPED / "two-sites.toml")} | more


def test_everysec_is_a_choice_and_nothing_less_is():
    assert configuration.read("QKD_APPENDFSYNC", {}) == "always"
    assert configuration.read("QKD_APPENDFSYNC", {"QKD_APPENDFSYNC": "everysec"}) == "everysec"
    with pytest.raises(configuration.ConfigurationError, match="QKD_APPENDFSYNC is 'no': expected always or everysec"):
        configuration.read("QKD_APPENDFSYNC", {"QKD_APPENDFSYNC": "no"})
    assert Settings.from_environment(environ()).appendfsync == "always"
    assert Settings.from_environment(environ(QKD_APPENDFSYNC="everysec")).appendfsync == "everysec"
    with pytest.raises(SettingsError, match="QKD_APPENDFSYNC is 'no'"):
        Settings.from_environment(environ(QKD_APPENDFSYNC="no"))


def test_status_says_in_words_which_epoch_it_is_and_what_is_waited_for(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    witness = {
        "epoch": 2,
        "began_because": "the key store (Redis) is lost",
        "state": "in quarantine",
        "peers": {"kme-b": "waiting for its confirmation", "kme-c": "confirmed"},
    }
    found = {"processes": {}, "endpoints": {}, "pools": [], "links": {}, "reports": []}
    network._show(found | {"witnesses": {"kme-a": witness, "kme-z": {}}})
    shown = capsys.readouterr().out
    assert "in quarantine; kme-b: waiting for its confirmation" in shown
    assert "the key store (Redis) is lost" in shown and "kme-c" not in shown and "kme-z" not in shown
