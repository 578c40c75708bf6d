"""What no key of a topology file is wrong about, but the whole: names taken twice, and what they refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qkd_lab.topology import Connection, Topology

# Site and link names become parts of process names, host names and file names.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def contradictions(topology: Topology) -> Iterator[str]:
    """A line for each: table, key, what was expected."""
    yield from _names(topology)
    yield from _process_names(topology)
    yield from _links(topology)
    yield from _connections(topology)


def _names(topology: Topology) -> Iterator[str]:
    if not topology.sites:
        yield "table sites: expected at least one [[sites]] table"
    for what, parts in (("sites", topology.sites), ("links", topology.links)):
        for part in parts:
            if not NAME.fullmatch(part.name):
                where = f"table {what}[{part.name}], key name"
                yield f"{where}: expected up to 32 of a-z, 0-9 and inner -, got {part.name!r}"
        yield from _each_once(f"table {what}, key name", [part.name for part in parts])
    yield from _each_once("table sites, key saes", [sae for site in topology.sites for sae in site.saes])
    kmes = list(dict.fromkeys(site.kme_id for site in topology.sites))
    names = [name for site in topology.sites for name in site.kme_names]
    yield from _each_once("table sites, key kme_names", kmes + names)


def _process_names(topology: Topology) -> Iterator[str]:
    """Each demo SAE is a process beside the others; a name stands for one process and one folder of certificates."""
    taken = {"operator", "probe", "prometheus", "authorities", ".", ".."}
    for site in topology.sites:
        taken |= {site.kme_id, f"{site.kme_id}-scheduler", site.qkde_id, f"postgres-{site.name}", f"redis-{site.name}"}
    taken |= {link.qlink_id for link in topology.links}
    homes = {sae: site.name for site in topology.sites for sae in site.saes}
    for sae, home in homes.items():
        for name in (sae, f"{sae}-app"):
            if name in taken:
                yield (
                    f"table sites[{home}], key saes: the SAE id {sae!r} needs the name {name!r}, "
                    "which something else has: choose another id"
                )
            taken.add(name)


def _links(topology: Topology) -> Iterator[str]:
    sites = [site.name for site in topology.sites]
    for link in topology.links:
        where = f"table links[{link.name}], key"
        for end, name in (("alice", link.alice), ("bob", link.bob)):
            yield from _known(f"{where} {end}", name, sites, "site")
        if link.alice == link.bob:
            yield f"{where} bob: expected another site than alice, got {link.bob!r}"
        for site, _ in link.folders:
            yield from _known(f"{where} folders", site, [link.alice, link.bob], "site of the link")
        # Two KMEs that read one folder would always agree, and prove nothing.
        yield from _each_once(f"{where} folders", [folder for _, folder in link.folders])
    pairs = [" and ".join(sorted((link.alice, link.bob))) for link in topology.links]
    yield from _each_once("table links, the pair alice and bob", pairs)


def _connections(topology: Topology) -> Iterator[str]:
    saes = [sae for site in topology.sites for sae in site.saes]
    for number, connection in enumerate(topology.connections, 1):
        where = f"table connections[{number}], key"
        unknown = [
            *_known(f"{where} master", connection.master, saes, "SAE"),
            *_known(f"{where} slave", connection.slave, saes, "SAE"),
        ]
        yield from unknown or _way_of_keys(topology, connection, f"{where} slave")
    pairs = [f"{connection.master} to {connection.slave}" for connection in topology.connections]
    yield from _each_once("table connections, the pair master and slave", pairs)


def _way_of_keys(topology: Topology, connection: Connection, where: str) -> Iterator[str]:
    """Without relay, which is not there yet, keys reach no further than the next site."""
    master, slave = (topology.site_of_sae(sae).name for sae in (connection.master, connection.slave))
    if master == slave:
        if not topology.links_of(master):
            yield (
                f"{where}: {connection.master} and {connection.slave} are both at site {master}, where no link ends: "
                "expected one, since keys are cut from a link's blocks"
            )
    elif not any(link.joins(master, slave) for link in topology.links):
        yield (
            f"{where}: {connection.master} (site {master}) and {connection.slave} (site {slave}) have no link between "
            "their sites: expected a pair at the two ends of one link"
        )


def _known(where: str, name: str, known: Sequence[str], what: str) -> Iterator[str]:
    if name not in known:
        yield f"{where}: expected a {what} of this file ({', '.join(known) or 'none yet'}), got {name!r}"


def _each_once(where: str, names: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"{where}: expected each once, got {name!r} more than once"
