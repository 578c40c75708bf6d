"""A network in one TOML file: sites, links with their physics and protocol, connections between SAEs.

Read by the services too, so nothing but the standard library is imported here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from qkd_lab.configuration import section_problems
from qkd_lab.topology_checks import contradictions
from qkd_lab.topology_fields import (
    CONNECTION,
    DOORS,
    LINK,
    PHYSICS,
    PROTOCOL,
    SITE,
    SOURCE,
    TOP,
    Problems,
    TopologyError,
    read_fields,
)

SHIPPED = Path(__file__).parent / "topologies"


@dataclass(frozen=True)
class Physics:
    """What a link starts with; it can be changed while the link runs. `qkde.link.physics` says what each does.

    The defaults of the two are the same; this one is read where no physics is installed.
    """

    loss_db: float = 0.0
    depolarizing: float = 0.0
    eve: str = "none"
    distance_km: float = 0.0
    attenuation_db_per_km: float = 0.2
    misalignment: float = 0.0
    noise: str = "none"
    detector_efficiency: float = 1.0
    dark_count_probability: float = 0.0
    dead_time_s: float = 0.0
    afterpulse_probability: float = 0.0
    repetition_rate_hz: float = 1e8


@dataclass(frozen=True)
class Protocol:
    """How the two QKDEs of a link make a block: sizes of a round, and the security parameters fixed before it."""

    pulses_per_frame: int = 1 << 20
    frame_count: int = 1
    key_basis_probability: float = 0.9
    qber_tolerance: float = 0.04
    epsilon_secrecy: float = 1e-10
    epsilon_correctness: float = 1e-15


@dataclass(frozen=True)
class Source:
    """What Alice sends, which both QKDEs must agree on: single photons where nothing is said.

    `set`: a parameter set (`qkde.parameter_sets`) that gives what is None here; `qkde.parameter_sets.rounds` puts the
    two together. `source`: `single-photon` or `weak-coherent`; intensities are mean photon numbers, each with how
    often Alice takes it. `key_basis_probability` goes before the protocol's.
    """

    set: str | None = None
    source: str | None = None
    signal_intensity: float | None = None
    decoy_intensity: float | None = None
    vacuum_intensity: float | None = None
    signal_probability: float | None = None
    decoy_probability: float | None = None
    vacuum_probability: float | None = None
    key_basis_probability: float | None = None

    @property
    def given(self) -> dict[str, str | float]:
        """What the file says."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Site:
    """One security boundary: a KME, a QKDE, their stores, and the SAEs that the KME serves.

    `nickname` is for people: it stands beside the names in logs and status, and means nothing to a protocol.
    """

    name: str
    saes: tuple[str, ...] = ()
    nickname: str = ""
    kme_names: tuple[str, ...] = ()  # what else its KME is called in what SAEs register

    @property
    def kme_id(self) -> str:
        return f"kme-{self.name}"

    @property
    def qkde_id(self) -> str:
        return f"qkde-{self.name}"


@dataclass(frozen=True)
class Link:
    """A quantum link between two sites. `alice` and `bob` are site names: who prepares, who measures.

    One whose `origin` is `directory` has neither: key files are brought to a folder at each of its two sites, the
    lab's own or one that `folders` names by site (docs/other-doors.md).
    """

    name: str
    alice: str
    bob: str
    physics: Physics = Physics()
    protocol: Protocol = Protocol()
    source: Source = Source()
    origin: str = "bb84"
    delete_after_reading: bool = False
    folders: tuple[tuple[str, str], ...] = ()

    @property
    def qlink_id(self) -> str:
        return f"qlink-{self.name}"

    @property
    def pre_shared_key(self) -> str:
        """Name of the secret that its two QKDEs share before their first round."""
        return f"pre-shared-key.{self.name}"

    @property
    def is_quantum(self) -> bool:
        return self.origin == "bb84"

    def folder_at(self, site: str, keys: Path) -> Path:
        """Where its key files arrive at one of its sites; `keys` is the lab's own place for them."""
        return Path(dict(self.folders).get(site, keys / self.name / site))

    def joins(self, site: str, other: str) -> bool:
        return {site, other} == {self.alice, self.bob}


@dataclass(frozen=True)
class Connection:
    """Keys of one size for a pair of SAEs, handed out at the master's KME (ETSI GS QKD 014)."""

    master: str
    slave: str
    key_size_bits: int = 256
    max_keys: int = 1000
    max_keys_per_request: int = 128
    max_sae_ids: int = 0


@dataclass(frozen=True)
class Topology:
    """A whole network. Every name that one part uses for another is known to exist."""

    name: str
    sites: tuple[Site, ...]
    links: tuple[Link, ...]
    connections: tuple[Connection, ...]
    kme: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what of qkd_lab.setting_tables.KME is given
    doors: tuple[str, ...] = DOORS  # which APIs beside ETSI GS QKD 014 its KMEs serve
    demo_saes: bool = True  # whether a process that uses keys runs for each SAE
    dashboard: bool = True  # whether there is a page to look at

    @cached_property
    def _site_of_sae(self) -> dict[str, Site]:
        return {sae: site for site in self.sites for sae in site.saes}

    def site(self, name: str) -> Site:
        return _named(self.sites, name, "site")

    def link(self, name: str) -> Link:
        return _named(self.links, name, "link")

    def site_of_sae(self, sae_id: str) -> Site:
        try:
            return self._site_of_sae[sae_id]
        except KeyError:
            raise TopologyError(f"no SAE {sae_id!r} in the topology {self.name}") from None

    def site_of_process(self, process: str) -> Site | None:
        """None for a process between the sites."""
        for site in self.sites:
            if process in (site.kme_id, f"{site.kme_id}-scheduler", site.qkde_id, *site.saes):
                return site
        return None

    def links_of(self, site: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links if site in (link.alice, link.bob))

    @property
    def quantum_links(self) -> tuple[Link, ...]:
        """Those with a quantum link process, and a QKDE at each end."""
        return tuple(link for link in self.links if link.is_quantum)

    def quantum_links_of(self, site: str) -> tuple[Link, ...]:
        return tuple(link for link in self.links_of(site) if link.is_quantum)


def load(path: Path | str) -> Topology:
    """Reads a topology file. Raises TopologyError: file, table, key, what was expected, a line for each error."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise TopologyError(f"{path}: no such topology file (shipped ones: {shipped})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: can't be read: {error}") from error
    try:
        return read(text, path.stem)
    except TopologyError as error:
        raise TopologyError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def read(text: str, name: str) -> Topology:
    """From the text of a file; `name` where it has none of its own. Raises TopologyError: table, key, what was
    expected, a line for each error."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise TopologyError("not a TOML file: it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        raise TopologyError(f"not a TOML file: {error}") from error
    topology = _topology(document, name)
    problems = Problems()
    problems.add(contradictions(topology))
    problems.raise_any()
    return topology


def _topology(document: dict, name: str) -> Topology:
    problems = Problems()
    top: dict[str, Any] = {}
    with problems.noted():
        top = read_fields(document, "top level", TOP, {"name": name})
    sites, links, connections = [], [], []
    for table, where in _tables(document, "sites"):
        with problems.noted():
            sites.append(Site(**read_fields(table, where, SITE)))
    for table, where in _tables(document, "connections"):
        with problems.noted():
            connections.append(_connection(table, where))
    for table, where in _tables(document, "links"):
        parts: dict[str, Any] = {}
        kinds = (("physics", Physics, PHYSICS), ("protocol", Protocol, PROTOCOL), ("source", Source, SOURCE))
        for part, made, keys in kinds:
            given = table.get(part, {})
            with problems.noted():
                parts[part] = made(**read_fields(given if isinstance(given, dict) else {}, f"{where}.{part}", keys))
        with problems.noted():
            values = read_fields(table, where, LINK)
            _check_origin(table, where)
            parts["folders"] = tuple(values["folders"].items())
            links.append(Link(**values | parts))
    section = document.get("kme", {})
    problems.add(section_problems(section if isinstance(section, dict) else {}))
    problems.raise_any()
    given = {name: top[name] for name in ("doors", "demo_saes", "dashboard") if name in top}
    return Topology(top["name"], tuple(sites), tuple(links), tuple(connections), top["kme"], **given)


def _check_origin(table: dict, where: str) -> None:
    """A key that would have no effect is an error: somebody believes it has one."""
    origin = table.get("origin", "bb84")
    others = ("delete_after_reading", "folders") if origin == "bb84" else ("physics", "protocol", "source")
    for name in others:
        if name in table:
            raise TopologyError(f"table {where}, key {name}: has no effect where origin is {origin}: remove it")


def _connection(table: dict, where: str) -> Connection:
    values = read_fields(table, where, CONNECTION)
    max_keys = values.get("max_keys", Connection.max_keys)
    per_request = values.setdefault("max_keys_per_request", min(Connection.max_keys_per_request, max_keys))
    if per_request > max_keys:
        raise TopologyError(
            f"table {where}, key max_keys_per_request: expected an integer from 1 to max_keys, which is {max_keys}, "
            f"got {per_request}"
        )
    return Connection(**values)


def _tables(document: dict, key: str) -> list[tuple[dict, str]]:
    """The tables of an array, each with the name that messages call it by; what is no table is left to `TOP`."""
    tables = document.get(key, [])
    named = []
    for number, table in enumerate(tables if isinstance(tables, list) else [], 1):
        if not isinstance(table, dict):
            continue
        name = table.get("name")
        named.append((table, f"{key}[{name if isinstance(name, str) else number}]"))
    return named


def _named(parts: tuple, name: str, what: str):
    for part in parts:
        if part.name == name:
            return part
    raise TopologyError(f"no {what} {name!r}: expected one of {', '.join(part.name for part in parts) or 'none'}")
