"""What a KME's two processes have in common: its settings, stores and peers, from the topology and the address book."""

from __future__ import annotations

from urllib.parse import quote

from kme.entity import Entity
from kme.errors import Unavailable
from kme.model import Connection, KmeSettings, Link
from mutual_tls.client import Peer
from mutual_tls.identity import Identity
from qkd_lab.topology import Topology

from .kek import key_encryption
from .settings import DATABASE_FOLDER, Settings, SettingsError

KME_TIMEOUT_S = 10.0


def kme_settings(topology: Topology, site: str) -> KmeSettings:
    links = [Link(one.name, f"kme-{one.bob if site == one.alice else one.alice}") for one in topology.links_of(site)]
    return KmeSettings(kme_id=f"kme-{site}", site=site, qkde_id=f"qkde-{site}", links=tuple(links))


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
    described = kme_settings(settings.topology, site)
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
        )
    except Unavailable as error:
        raise SettingsError(f"the key-encryption keys can't be opened: {error.message}") from None


def peer(settings: Settings, kme_id: str) -> Peer:
    return settings.peer(kme_id, "peer", Identity("kme", kme_id), timeout_s=KME_TIMEOUT_S)
