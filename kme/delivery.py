"""The three methods of ETSI GS QKD 014 as use cases. Who calls was verified before; `caller` is an SAE id."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from uuid import UUID

from kme.batches import BatchOwner
from kme.catalogue import Catalogue
from kme.errors import BadRequest, NotEntitled, TooFewKeys, Unavailable
from kme.etsi014 import KEYS_NOT_FOUND, MANDATORY_UNSUPPORTED, SIZE_NOT_IN_BYTES
from kme.keystore import KeyStore
from kme.keywrap import KeyWrap, key_context
from kme.model import MAX_KEY_SIZE_BITS, MIN_KEY_SIZE_BITS, Connection, Key, KeyRequest, KmeSettings, PoolStatus
from mutual_tls.client import Peer, PeerError

log = logging.getLogger(__name__)


class Delivery:
    def __init__(
        self,
        settings: KmeSettings,
        catalogue: Catalogue,
        keystore: KeyStore,
        keywrap: KeyWrap,
        batches: BatchOwner,
        peers: Mapping[str, Peer],
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._keystore = keystore
        self._keywrap = keywrap
        self._batches = batches
        self._peers = peers
        self._on_demand = threading.BoundedSemaphore(settings.on_demand_limit)

    def status(self, caller: str, slave_sae_id: str) -> PoolStatus:
        connection = self._as_master(caller, slave_sae_id)
        count = self._keystore.stored_key_count(connection.connection_id, connection.key_size_bits)
        return PoolStatus(connection, min(count, connection.max_key_count))

    def enc_keys(self, caller: str, slave_sae_id: str, request: KeyRequest) -> list[Key]:
        """Gives the master `request.number` keys that nobody else gets, or raises and gives none.

        One atomic step, without Postgres and without the peer, where the pool has them. From the moment they are taken
        they count as delivered, even where the answer is lost.
        """
        connection = self._as_master(caller, slave_sae_id)
        size_bits = check_request(request, connection)
        found = self._take(connection, size_bits, request.number)
        if isinstance(found, int) and size_bits != connection.key_size_bits:
            self._fill_on_demand(connection, size_bits, request.number - found)
            found = self._take(connection, size_bits, request.number)
        if isinstance(found, int):
            raise TooFewKeys(request.number, found)
        return self._unwrapped(connection, found)

    def dec_keys(self, caller: str, master_sae_id: str, key_ids: Sequence[UUID]) -> list[Key]:
        """Gives the slave the keys it names, in that order, each for the only time; or raises and consumes none."""
        self._catalogue.admit(caller)
        connection = self._catalogue.between(master_sae_id, caller)
        if connection.target_kme_id != self._settings.kme_id:
            raise BadRequest(f"keys for slave SAE {caller} are delivered by {connection.target_kme_id}")
        outcome, wrapped = self._fetch(connection, key_ids, caller)
        if outcome == "not_entitled":
            raise NotEntitled("one or more keys specified are not for this SAE")
        if outcome == "not_found":
            raise BadRequest(KEYS_NOT_FOUND)
        return self._unwrapped(connection, list(zip(key_ids, wrapped, strict=True)))

    def _as_master(self, caller: str, slave_sae_id: str) -> Connection:
        self._catalogue.admit(caller)
        connection = self._catalogue.between(caller, slave_sae_id)
        if connection.source_kme_id != self._settings.kme_id:
            raise BadRequest(f"keys for master SAE {caller} are delivered by {connection.source_kme_id}")
        return connection

    def _take(self, connection: Connection, size_bits: int, count: int) -> list[tuple[UUID, bytes]] | int:
        return self._keystore.take_keys(connection.connection_id, size_bits, count, connection.master_sae_id)

    def _fetch(self, connection: Connection, key_ids: Sequence[UUID], caller: str) -> tuple[str, list[bytes]]:
        connection_id = connection.connection_id
        answer = self._keystore.fetch_keys(connection_id, key_ids, caller, self._catalogue.with_slave(caller))
        if answer[0] == "not_entitled":
            # Perhaps by a connection that another process has registered since this one looked.
            self._catalogue.refresh()
            answer = self._keystore.fetch_keys(connection_id, key_ids, caller, self._catalogue.with_slave(caller))
        return answer

    def _unwrapped(self, connection: Connection, wrapped: list[tuple[UUID, bytes]]) -> list[Key]:
        connection_id = connection.connection_id
        return [Key(key_id, self._keywrap.unwrap(key, key_context(key_id, connection_id))) for key_id, key in wrapped]

    def _fill_on_demand(self, connection: Connection, size_bits: int, count: int) -> None:
        """Cuts keys of another size than the connection's own from the link's reserve, as many as it has.

        They go to a pool of that size: what was cut and not taken, since the reserve was too small or the caller has
        gone, is there for the next request.
        """
        link = self._settings.link_to(connection.target_kme_id)
        peer = self._peers.get(connection.target_kme_id)
        if link is None or peer is None:
            raise Unavailable(f"there is no link from {self._settings.kme_id} to {connection.target_kme_id}")
        # Without a limit, the workers of two KMEs could all wait for each other.
        if not self._on_demand.acquire(timeout=1.0):
            raise Unavailable("too many requests for keys of other sizes at once, try again")
        try:
            self._batches.fill(connection, link, peer, size_bits, count)
        except PeerError as error:
            raise Unavailable(f"no keys of {size_bits} bits can be made now: {error}") from None
        finally:
            self._on_demand.release()


def check_request(request: KeyRequest, connection: Connection) -> int:
    """The key size in bits that is asked for. Raises BadRequest where the connection does not allow it (table 10)."""
    if request.mandatory_extensions:
        raise BadRequest(MANDATORY_UNSUPPORTED)
    if not 1 <= request.number <= connection.max_key_per_request:
        raise BadRequest(f"number: expected 1..{connection.max_key_per_request}, got {request.number}")
    size_bits = connection.key_size_bits if request.size_bits is None else request.size_bits
    if size_bits % 8:
        raise BadRequest(SIZE_NOT_IN_BYTES)
    if not MIN_KEY_SIZE_BITS <= size_bits <= MAX_KEY_SIZE_BITS:
        raise BadRequest(f"size: expected {MIN_KEY_SIZE_BITS}..{MAX_KEY_SIZE_BITS}, got {size_bits}")
    # Whatever the connection says: without multicast the keys would reach fewer SAEs than the caller believes.
    if request.additional_slave_sae_ids:
        raise BadRequest(f"additional_slave_SAE_IDs: expected at most 0, got {len(request.additional_slave_sae_ids)}")
    return size_bits
