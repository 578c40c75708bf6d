"""What a KME's two processes have in common: its settings, stores and peers, from the topology and the address book."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kme.entity import Entity
from kme.errors import Unavailable
from kme.model import Connection, KeyFolder, KmeSettings, Link, SaeLimits
from mutual_tls.client import Peer
from mutual_tls.identity import Identity
from qkd_lab import topology as file
from qkd_lab.topology import Topology

from .kek import key_encryption
from .kme_metrics import count_delivery, stores_of
from .settings import DATABASE_FOLDER, Settings, SettingsError

KME_TIMEOUT_S = 10.0


def kme_settings(
    topology: Topology,
    site: str,
    keys: Path,
    options: Mapping[str, Any] | None = None,
    appendfsync: str = "always",
) -> KmeSettings:
    """`keys` is the lab's own place for the folders of links that have one; `options`: `qkd_lab.setting_tables.KME`."""

    def link(one: file.Link) -> Link:
        folder = None if one.is_quantum else KeyFolder(one.folder_at(site, keys), one.delete_after_reading)
        return Link(one.name, f"kme-{one.bob if site == one.alice else one.alice}", folder)

    given = dict(options or {})
    limits = SaeLimits(**{one.name: given.pop(one.name, 0) or None for one in fields(SaeLimits)})
    return KmeSettings(
        kme_id=f"kme-{site}",
        site=site,
        qkde_id=f"qkde-{site}",
        links=tuple(link(one) for one in topology.links_of(site)),
        doors=frozenset(topology.doors),
        kme_names={name: one.kme_id for one in topology.sites for name in one.kme_names},
        default_limits=limits,
        appendfsync=appendfsync,
        **given,
    )


def connections_of(topology: Topology, kme_id: str) -> list[Connection]:
    """The connections of the topology that one KME is an end of."""
    found = []
    for one in topology.connections:
        source, target = (topology.site_of_sae(sae).kme_id for sae in (one.master, one.slave))
        if kme_id in (source, target):
            found.append(
                Connection(
                    source_kme_id=source,
                    target_kme_id=target,
                    master_sae_id=one.master,
                    slave_sae_id=one.slave,
                    key_size_bits=one.key_size_bits,
                    max_key_count=one.max_keys,
                    max_key_per_request=one.max_keys_per_request,
                    max_sae_id_count=one.max_sae_ids,
                )
            )
    return found


def entity(settings: Settings, site: str, database_size: int) -> Entity:
    described = kme_settings(settings.topology, site, settings.keys, settings.kme, settings.appendfsync)
    redis, postgres = settings.address(f"redis-{site}", "redis"), settings.address(f"postgres-{site}", "sql")
    passwords = {name: quote(settings.secret(f"{name}.password"), safe="") for name in ("redis", "postgres")}
    kek, keks = key_encryption(settings)
    try:
        return Entity(
            described,
            postgres_dsn=f"postgresql://kme:{passwords['postgres']}@{postgres}/kme",
            redis_url=f"redis://:{passwords['redis']}@{redis}/0",
            kek=kek,
            keks=keks,
            db=DATABASE_FOLDER,
            peers={link.peer_kme_id: peer(settings, link.peer_kme_id) for link in described.links},
            database_size=database_size,
            delivered=count_delivery,
        )
    except Unavailable as error:
        raise SettingsError(f"the key-encryption keys can't be opened: {error.message}") from None


def needs_of(kme: Entity, qkde: Peer | None = None) -> dict[str, Callable[[], object]]:
    """Its stores and the other KMEs, without whom it can't do its work; of a scheduler, its QKDE too."""
    needs = stores_of(kme) | {f"KME {kme_id}": one.check for kme_id, one in kme.peers.items()}
    return needs | ({f"QKDE {qkde.identity.id}": qkde.check} if qkde else {})


def peer(settings: Settings, kme_id: str) -> Peer:
    return settings.peer(kme_id, "peer", Identity("kme", kme_id), timeout_s=KME_TIMEOUT_S)
