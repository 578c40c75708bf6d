"""The nouns of key management. Plain data: no store, no wire format, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID, uuid5

# A key is cut in whole bytes. 4096 bits is the largest RSA-era size a client asks for; a batch must fit into one block.
MIN_KEY_SIZE_BITS = 8
MAX_KEY_SIZE_BITS = 4096
MAX_POOL_KEY_COUNT = 100_000
MAX_KEYS_PER_REQUEST = 1_000
MAX_ADDITIONAL_SLAVES = 32
MAX_TTL_S = 2**31 - 1  # 68 years, and what the database holds
# A block's first bits authenticate its confirmation and are burned by it (docs/protocols.md).
CONFIRMATION_BITS = 256
MAX_BLOCK_BITS = 1 << 26

# Both ends of a connection derive its id from the pair of SAEs, so neither has to wait for the other to name it.
_CONNECTIONS = UUID("6f3f2f0a-7d0b-5c5e-9a43-0c1d5b8e2f14")

# The APIs beside ETSI GS QKD 014 (docs/other-doors.md).
DOORS = ("quick", "life-cycle", "entropy")

BlockState = Literal["arriving", "received", "confirmed", "closing", "closed"]
Origin = Literal["bb84", "directory"]
BatchState = Literal["recorded", "committed", "refused", "voiding", "voided"]


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """Where the key files of a link arrive at this site (`kme.directory_source`)."""

    path: Path
    delete_after_reading: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A quantum link this site ends, and the KME at its other end. One with a `folder` gets its bits from files."""

    name: str
    peer_kme_id: str
    folder: KeyFolder | None = None

    @property
    def origin(self) -> Origin:
        return "directory" if self.folder else "bb84"


@dataclass(frozen=True)
class SaeLimits:
    """What one SAE may use. None: no limit, or in the settings of an SAE: the KME's default.

    Calls pass a token bucket of `request_burst` tokens that gets `requests_per_s` new ones a second. Quotas count the
    bits of the keys given to it as a master, in periods that begin with the first key after the last period's end.
    """

    requests_per_s: int | None = None
    request_burst: int | None = None
    bits_per_hour: int | None = None
    bits_per_day: int | None = None

    def over(self, default: SaeLimits) -> SaeLimits:
        """These, and the default where there is none."""
        if self == _NO_LIMITS:
            return default
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(default, **{name: value for name, value in mine.items() if value is not None})


_NO_LIMITS = SaeLimits()


@dataclass(frozen=True)
class Sae:
    """An SAE registered at this KME. A suspended one is refused with 401; its keys remain."""

    sae_id: str
    suspended: bool = False
    limits: SaeLimits = _NO_LIMITS


@dataclass(frozen=True)
class KmeSettings:
    """What one KME is and how it behaves. `qkde_id` is its own site's QKDE, the only one that may hand it blocks."""

    kme_id: str
    site: str
    qkde_id: str
    links: tuple[Link, ...]
    low_watermark: float = 0.5  # of max_key_count: below it, filling a pool starts, and goes on until it is full
    reserve_bits: int = 16_384  # kept uncut on each link for sizes other than a connection's own
    max_batch_key_count: int = 1_000
    on_demand_limit: int = 4  # requests of one worker that may wait for the peer at once, so that others are served
    order_timeout_s: float = 90.0
    unconfirmed_after_s: float = 60.0
    default_limits: SaeLimits = SaeLimits()  # of an SAE that has none of its own
    pool_ttl_s: int = 86_400  # for how long a pool keeps a key, where its connection has no TTL of its own
    fetch_ttl_s: int = 3_600  # for how long a key that was given to its master can be fetched, at least
    ttl_margin_s: int = 60  # more than the clocks of two sites drift apart in a key's life
    closed_kept_s: int = 30 * 86_400  # for how long a closed block is known, so that it can't come in once more
    refusal_window_s: float = 60.0  # refused calls of one kind in this time are one entry of the audit trail
    appendfsync: str = "always"  # what the key store is meant to have: or everysec, docs/protocols.md, "Durability"
    request_patience_s: float = 30.0  # keys cut for one request that is not heard of for so long are voided
    doors: frozenset[str] = frozenset(DOORS)
    kme_names: Mapping[str, str] = field(default_factory=dict)  # more names of KMEs, for the quick door, and their ids
    missing_file_after_s: float = 3_600.0  # the same for a link with folders, to which people bring files by hand

    def kme_named(self, name: str) -> str:
        """The id of the KME that is called so: the name itself, unless it is another one for a KME."""
        return self.kme_names.get(name, name)

    @property
    def kept_after_pool_s(self) -> int:
        """For how long a recipient's copy is kept when the time in its master's pool is over."""
        return self.fetch_ttl_s + self.ttl_margin_s

    def pool_ttl_of(self, connection: Connection) -> int:
        """In seconds: the connection's `TTL` (ETSI GS QKD 004), or the KME's."""
        return min(connection.qos.get("TTL") or self.pool_ttl_s, MAX_TTL_S)

    def link_to(self, kme_id: str) -> Link | None:
        return next((link for link in self.links if link.peer_kme_id == kme_id), None)

    def links_for(self, connection: Connection) -> list[Link]:
        """Those whose blocks give its keys. Two SAEs of this site: any link does, since its peer destroys its copy."""
        if connection.is_local:
            return list(self.links)
        return [link for link in self.links if link.peer_kme_id == connection.target_kme_id]

    def link_named(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)


@dataclass(frozen=True)
class Connection:
    """A master SAE at its source KME and a slave SAE at its target KME, who may share keys. `qos`: ETSI GS QKD 004.

    That it is registered, and not suspended, is the permission for this master to ask for keys with this slave. Of two
    states of a connection the one with the greater `(revision, revised_by)` holds, at both KMEs.
    """

    source_kme_id: str
    target_kme_id: str
    master_sae_id: str
    slave_sae_id: str
    key_size_bits: int = 256
    max_key_count: int = 1_000
    max_key_per_request: int = 128
    max_sae_id_count: int = 0
    qos: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    suspended: bool = False
    removed: bool = False
    revision: int = 0
    revised_by: str = ""

    @cached_property
    def connection_id(self) -> UUID:
        return connection_id_of(self.master_sae_id, self.slave_sae_id)

    @property
    def is_local(self) -> bool:
        """Whether both SAEs, or the one SAE, live at one KME."""
        return self.source_kme_id == self.target_kme_id

    def supersedes(self, other: Connection) -> bool:
        return (self.revision, self.revised_by) > (other.revision, other.revised_by)


@lru_cache(4096)
def connection_id_of(master_sae_id: str, slave_sae_id: str) -> UUID:
    # A separator inside an SAE id must not make two pairs alike, hence the length.
    return uuid5(_CONNECTIONS, f"{len(master_sae_id)}|{master_sae_id}|{slave_sae_id}")


@dataclass(frozen=True)
class Block:
    """One round's secret bits as the KME's records know them: everything but the bits."""

    block_id: UUID
    link: str
    owner_kme_id: str
    length_bits: int
    state: BlockState
    digest: bytes | None = None  # keyed, see KeyRing.digest; None where the block was closed before it came
    cursor_bits: int = 0
    owner_tag: bytes | None = None
    peer_tag: bytes | None = None
    origin: Origin = "bb84"
    binding: bytes | None = None  # what the confirmation covers beside the bits, see kme/directory_source.py

    @property
    def uncut_bits(self) -> int:
        return max(0, self.length_bits - self.cursor_bits)


@dataclass(frozen=True)
class Batch:
    """Keys cut side by side from one block for one connection; `key_ids[i]` is at `offset_bits + i * key_size_bits`.

    `recipients` are at the KME at the block's other end, `own_recipients` at the owner's; each gets a copy. The
    master's copy goes to the connection's pool, or to a pool of the request `request_id` alone.
    """

    batch_id: UUID
    block_id: UUID
    offset_bits: int
    key_size_bits: int
    connection_id: UUID
    master_sae_id: str
    slave_sae_id: str
    key_ids: tuple[UUID, ...]
    recipients: tuple[str, ...]
    own_recipients: tuple[str, ...] = ()
    request_id: UUID | None = None
    ttl_s: int = 86_400  # for how long its pool keeps the keys, from `recorded_ms` by the owner's fast clock
    recorded_ms: int = 0  # 0: where it is not the owner's record

    @property
    def end_bits(self) -> int:
        return self.offset_bits + len(self.key_ids) * self.key_size_bits


@dataclass(frozen=True, slots=True)
class Key:
    """`id_octets`: its UUID. Most keys are only written out, and to make the object takes as long as to decrypt one."""

    id_octets: bytes
    bits: bytes = field(repr=False)

    @property
    def key_id(self) -> UUID:
        return UUID(bytes=self.id_octets)


def uuid_text(octets: bytes) -> str:
    """A UUID of 16 octets as it is written, without the object, which takes four times as long."""
    digits = octets.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@dataclass(frozen=True)
class KeyRequest:
    """What a master asks for (ETSI GS QKD 014 table 10). `size_bits` None is the connection's own size; extensions are
    pairs of name and value (`kme.extensions`)."""

    number: int = 1
    size_bits: int | None = None
    additional_slave_sae_ids: tuple[str, ...] = ()
    mandatory_extensions: tuple[tuple[str, Any], ...] = ()
    optional_extensions: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class PoolStatus:
    connection: Connection
    stored_key_count: int
