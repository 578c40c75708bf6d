"""Keys cut while their request waits: of another size than the connection's, fresh ones, or for additional slaves.

What belongs to a connection goes to its pool of that size; what was cut and not taken is there for the next request.
Keys for additional slaves belong to one request, and to a pool of its own: all are delivered in one step, or all are
voided. Why this needs no leader: `kme.owner`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID, uuid4

from kme.batches import BatchRefused
from kme.directory import Directory
from kme.errors import BadRequest, KmeError, TooFewKeys, Unavailable
from kme.keystore import KeyStore
from kme.model import Connection, KmeSettings, Link, SaeLimits
from kme.owner import Owner
from kme.recipients import Recipients
from mutual_tls.client import Peer, PeerError

log = logging.getLogger(__name__)


class OnDemand:
    def __init__(
        self,
        settings: KmeSettings,
        owner: Owner,
        keystore: KeyStore,
        directory: Directory,
        peers: Mapping[str, Peer],
    ) -> None:
        self._settings = settings
        self._records = owner.records
        self._requests = owner.requests
        self._batches = owner.batches
        self._voiding = owner.voiding
        self._keystore = keystore
        self._directory = directory
        self._peers = peers
        self._waiting = threading.BoundedSemaphore(settings.on_demand_limit)

    def fill_pool(self, connection: Connection, size_bits: int, count: int) -> None:
        """Up to `count` keys for the connection's pool of that size, as many as its links have bits for."""
        failure: PeerError | None = None
        with self._one_of_few():
            for link in self._links(connection):
                if count > 0:
                    try:
                        count -= self._batches.fill(connection, link, self._peers[link.peer_kme_id], size_bits, count)
                    except PeerError as error:  # two SAEs of this site may have another link
                        failure = error
            if failure and count > 0:
                raise failure

    def deliver(
        self,
        connection: Connection,
        additional: Sequence[str],
        size_bits: int,
        count: int,
        is_there: Callable[[], bool] = lambda: True,
        limits: SaeLimits | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Exactly `count` new keys, wrapped, for the master; the slave and `additional` SAEs can fetch each of them.

        Raises BadRequest where one of these can't be reached, before anything is cut; TooFewKeys or Unavailable with
        nothing delivered.
        """
        with self._one_of_few():
            recipients, links = self._reach(connection, additional)
            link, available_count = self._richest(links, size_bits)
            if available_count < count:
                self._requests.want(link.name, size_bits, count)
                raise TooFewKeys(count, available_count)
            request_id, peer = uuid4(), self._peers[link.peer_kme_id]
            master = connection.master_sae_id
            if limits and (limits.bits_per_hour or limits.bits_per_day):
                # From a pool that is empty yet: this shows whether a quota forbids it, before anything is cut.
                self._keystore.take_keys(
                    connection.connection_id, size_bits, count, master, pool_id=request_id, limits=limits
                )
            try:
                self._batches.fill(connection, link, peer, size_bits, count, recipients, request_id)
                if not is_there():
                    raise Unavailable("the caller has gone")
                found = self._keystore.take_keys(
                    connection.connection_id, size_bits, count, master, pool_id=request_id, limits=limits
                )
            except (KmeError, PeerError) as error:
                if isinstance(error, BatchRefused):
                    self._directory.forget()  # perhaps one of the SAEs is not there any more
                self._void(request_id, peer)
                raise
            if isinstance(found, int):
                self._void(request_id, peer)
                raise TooFewKeys(count, found)
            self._settle(request_id, link, size_bits)
            return found

    def _reach(self, connection: Connection, additional: Sequence[str]) -> tuple[Recipients, list[Link]]:
        """Where the recipients are, and the links whose blocks reach all of them: one peer at most."""
        here, links = self._settings.kme_id, self._links(connection)
        kme_ids = [link.peer_kme_id for link in links]
        homes = {sae_id: self._directory.home(sae_id, kme_ids) for sae_id in additional}
        homes[connection.slave_sae_id] = connection.target_kme_id
        for sae_id, home in homes.items():
            if home is None:
                raise BadRequest(
                    f"additional_slave_SAE_IDs: SAE {sae_id} is not registered at {' or '.join([here, *kme_ids])};"
                    " a third KME can't be reached in one request"
                )
        peers = {home for home in homes.values() if home != here}
        if len(peers) > 1:
            raise BadRequest(
                f"additional_slave_SAE_IDs: expected SAEs of {here} and one other KME, got some of"
                f" {' and '.join(sorted(map(str, peers)))}"
            )
        recipients = Recipients(
            at_peer=tuple(sae_id for sae_id, home in homes.items() if home != here),
            here=tuple(sae_id for sae_id, home in homes.items() if home == here),
        )
        return recipients, [link for link in links if not peers or link.peer_kme_id in peers]

    def _links(self, connection: Connection) -> list[Link]:
        links = [link for link in self._settings.links_for(connection) if link.peer_kme_id in self._peers]
        if not links:
            raise Unavailable(f"there is no link from {self._settings.kme_id} to {connection.target_kme_id}")
        return links

    def _richest(self, links: Sequence[Link], size_bits: int) -> tuple[Link, int]:
        counts = [self._records.uncut_key_count(self._settings.kme_id, link.name, size_bits) for link in links]
        most = max(counts)
        return links[counts.index(most)], most

    def _void(self, request_id: UUID, peer: Peer) -> None:
        """What can't be voided now, the scheduler voids later; only the first step, which nothing delays, is needed."""
        try:
            for batch in self._requests.start_voiding(request_id):
                self._voiding.void(batch, peer)
        except (KmeError, PeerError) as error:
            log.warning("the keys of request %s are voided later: %s", request_id, error)

    def _settle(self, request_id: UUID, link: Link, size_bits: int) -> None:
        try:
            self._requests.commit(request_id, link.name, size_bits)
        except Unavailable:  # they are delivered all the same; the scheduler will see that and settle the record
            log.warning("request %s was delivered, which is recorded later", request_id)

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        # Without a limit, the workers of two KMEs could all wait for each other.
        if not self._waiting.acquire(timeout=1.0):
            raise Unavailable("too many requests for keys that have to be cut at once, try again")
        try:
            yield
        except PeerError as error:
            raise Unavailable(f"no keys can be cut now: {error}") from None
        finally:
            self._waiting.release()
