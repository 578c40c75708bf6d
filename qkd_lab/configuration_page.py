"""docs/configuration.md, from the tables that the settings are read by: `python -m qkd_lab.configuration_page`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from qkd_lab.configuration import variable
from qkd_lab.setting_tables import ENVIRONMENT, FAULTS, KME, Setting
from qkd_lab.topology import Connection, Link, Physics, Protocol, Site, Source, Topology
from qkd_lab.topology_fields import CONNECTION, LINK, PHYSICS, PROTOCOL, SITE, SOURCE, TOP, Key

HEAD = """\
# Configuration

Made from the code by `python -m qkd_lab.configuration_page > docs/configuration.md`: change it there.

A network is one TOML file: `qkd-lab up --topology FILE`. What `up` began with is kept as `.lab/topology.toml`. The
environment goes before the file. What is wrong is said all at once when a process starts, and ends it with status 2; a
name that is not here is refused with the nearest one. An empty variable counts as not set. `qkd-lab config check
[FILE]` says what is wrong without starting anything, `qkd-lab config show [FILE]` what holds and where it is from.
Secrets are files and never settings.

An embedded lab hands the environment of `qkd-lab up` on to its processes. In docker-compose.yml a variable stands under
`environment` of each service it is for; the file is `.lab/topology.toml` in the folder of docker-compose.yml.
"""

# The tables of the file: how each is written, its keys, and the class with their defaults.
TABLES: tuple[tuple[str, Mapping[str, Key], type], ...] = (
    ("top level", TOP, Topology),
    ("[[sites]]", SITE, Site),
    ("[[links]]", LINK, Link),
    ("[links.physics]", PHYSICS, Physics),
    ("[links.protocol]", PROTOCOL, Protocol),
    ("[links.source]", SOURCE, Source),
    ("[[connections]]", CONNECTION, Connection),
)
MEANINGS = {
    "top level": {
        "name": "The network's name; by default the file's.",
        "sites": "One table for each site.",
        "links": "One for each link between two sites.",
        "connections": "One for each pair of SAEs, a master and a slave.",
        "doors": "Which APIs beside ETSI GS QKD 014 the KMEs serve (docs/other-doors.md).",
        "demo_saes": "Whether a process that uses keys runs for each SAE.",
        "dashboard": "Whether the dashboard runs: a page of the network for browsers on this host.",
        "kme": "Settings of all KMEs: see above.",
    },
    "[[sites]]": {
        "name": "Part of the names of its processes.",
        "saes": "The SAEs its KME serves.",
        "kme_names": "What else its KME is called in what SAEs register.",
        "nickname": "Shown beside the KME's name in logs and status.",
    },
    "[[links]]": {
        "name": "Part of the name of its process.",
        "alice": "Where pulses are prepared.",
        "bob": "Where they are measured.",
        "physics": "What the link starts with.",
        "protocol": "How its two QKDEs make a block.",
        "source": "What is sent.",
        "origin": "Where its bits are from: BB84, or files in a folder at each site (docs/other-doors.md).",
        "delete_after_reading": "Key files that were read are removed.",
        "folders": "Where key files arrive, by site; by default a folder of the lab.",
    },
    "[links.physics]": {
        "loss_db": "Loss beside the fibre's.",
        "depolarizing": "Chance that a qubit is replaced by a random one.",
        "eve": "Who listens on the link, and to which part of the pulses.",
        "distance_km": "Length of the fibre.",
        "attenuation_db_per_km": "Its attenuation.",
        "misalignment": "Chance of a flip by optics that are not aligned.",
        "noise": "Further noise, by name and strength (docs/simulation.md).",
        "detector_efficiency": "Chance that a photon makes a click.",
        "dark_count_probability": "Chance of a click without a photon, for each detector and pulse.",
        "dead_time_s": "Time after a click in which a detector is blind.",
        "afterpulse_probability": "Chance that a click makes another one.",
        "repetition_rate_hz": "Pulses in a second, which dead time is counted in.",
    },
    "[links.protocol]": {
        "pulses_per_frame": "Pulses of one exchange with the quantum link.",
        "frame_count": "Frames of a round.",
        "key_basis_probability": "How often either end takes the key basis.",
        "qber_tolerance": "Above it a round is given up.",
        "epsilon_secrecy": "Chance that a block is not secret.",
        "epsilon_correctness": "Chance that its two ends differ.",
    },
    "[links.source]": {
        "set": "A named parameter set, whose source and choice of bases are taken where nothing else is said.",
        "source": "Single photons, or pulses of a laser with decoys among them.",
        "signal_intensity": "Mean photon number of the signal.",
        "decoy_intensity": "Of the decoys.",
        "vacuum_intensity": "Of the weakest pulses.",
        "signal_probability": "How often a pulse is a signal.",
        "decoy_probability": "A decoy.",
        "vacuum_probability": "One of the weakest.",
        "key_basis_probability": "As in the protocol; here it belongs to the set.",
    },
    "[[connections]]": {
        "master": "Who asks for new keys.",
        "slave": "Who fetches them by their ids.",
        "key_size_bits": "The keys' default size.",
        "max_keys": "The most that are stored for the pair.",
        "max_keys_per_request": "The most in one request.",
        "max_sae_ids": "Further slaves of one request.",
    },
}


def page() -> str:
    """The whole page, in Markdown."""
    parts = [HEAD, "## The environment\n", _environment(ENVIRONMENT)]
    parts += ["## `[kme]`, and its variables\n", _kme(KME)]
    parts += ["## `[kme]`: faults on purpose (docs/faults.md)\n", _kme(FAULTS)]
    for title, keys, made in TABLES:
        shown = f"`{title}`" if title[0] == "[" else title
        parts += [f"## The file: {shown}\n", _keys(title, keys, made)]
    return "\n".join(parts)


def _environment(settings: Iterable[Setting]) -> str:
    rows = []
    for one in settings:
        default = "must be set" if one.required else _shown(one.default)
        rows.append((f"`{one.name}`", default, one.expected, one.read_by, one.meaning))
    return _table(("variable", "default", "expected", "read by", "meaning"), rows)


def _kme(settings: Iterable[Setting]) -> str:
    rows = [(f"`{one.name}`", f"`{variable(one)}`", _shown(one.default), one.expected, one.meaning) for one in settings]
    return _table(("key", "variable", "default", "expected", "meaning"), rows)


def _keys(title: str, keys: Mapping[str, Key], made: type) -> str:
    defaults = {one.name: one.default for one in fields(made) if one.default is not MISSING}
    rows = []
    for name, key in keys.items():
        default = "must be there" if key.required else _shown(defaults.get(name, key.default))
        rows.append((f"`{name}`", default, key.expected, MEANINGS[title][name]))
    return _table(("key", "default", "expected", "meaning"), rows)


def _shown(value: Any) -> str:
    # What is a table of its own, or nothing, has no default to be shown.
    return f"`{value}`" if isinstance(value, bool | int | float | str) and value != "" else "–"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [heads, ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
