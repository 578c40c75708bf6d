"""What a KME is told of its topology: where bits come from, which doors are open, what KMEs are called."""

from __future__ import annotations

from pathlib import Path

from kme.model import DOORS, KeyFolder, Link
from qkd_lab.topology import SHIPPED, load
from services.kme_parts import kme_settings

KEYS = Path("/lab/keys")


def test_a_link_with_folders_is_told_to_both_kmes_each_with_its_own_folder():
    topology = load(SHIPPED / "two-sites-directory.toml")
    assert kme_settings(topology, "a", KEYS).links == (Link("a-b", "kme-b", KeyFolder(KEYS / "a-b" / "a", True)),)
    assert kme_settings(topology, "b", KEYS).links == (Link("a-b", "kme-a", KeyFolder(KEYS / "a-b" / "b", True)),)


def test_the_shipped_lab_has_a_quantum_link_and_every_door():
    settings = kme_settings(load(SHIPPED / "two-sites.toml"), "a", KEYS)
    assert settings.links == (Link("a-b", "kme-b"),)
    assert settings.doors == set(DOORS)


def test_doors_and_names_of_kmes_are_the_topologys(tmp_path):
    text = (SHIPPED / "two-sites.toml").read_text()
    (tmp_path / "net.toml").write_text(text.replace('name = "two-sites"', 'doors = ["quick"]'))
    settings = kme_settings(load(tmp_path / "net.toml"), "b", KEYS)
    assert settings.doors == {"quick"}
    assert settings.kme_named("sender_app") == "kme-a" and settings.kme_named("receiver_app") == "kme-b"
    assert settings.kme_named("kme-b") == "kme-b"
