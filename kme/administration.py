"""What an operator does to SAEs and connections that are registered: look, change, suspend, remove.

A change is recorded in Postgres first, with a revision. Then this site's key store follows it, and the other KME is
told; where either can't be reached, `step` goes on with it until it has come through (docs/protocols.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from kme.administration_records import AdministrationRecords
from kme.block_records import BlockRecords
from kme.catalogue import Catalogue
from kme.cutting import Cutter
from kme.errors import NotHere, Unavailable
from kme.keystore import KeyStore
from kme.limits import check_connection
from kme.model import Connection, KmeSettings, Sae
from kme.peer_wire import state_json
from kme.planning import BackOff
from kme.registration import Registration
from mutual_tls.client import Peer, PeerError, Refused

log = logging.getLogger(__name__)
_Found = TypeVar("_Found")

# The longest pauses before a KME that does not answer, and one that has refused a change, is told again.
AWAY_PAUSE_S, REFUSED_PAUSE_S = 3.0, 60.0


@dataclass(frozen=True)
class Outcome:
    """What has become of a change. The counts are of a removal; None where that store or KME is still to follow.

    `peer_kme_id` is None where both SAEs live at this KME.
    """

    connection: Connection
    destroyed_key_count: int | None
    peer_kme_id: str | None
    peer_is_told: bool
    peer_destroyed_key_count: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.destroyed_key_count is not None and self.peer_is_told


class Administration:
    def __init__(
        self,
        settings: KmeSettings,
        records: AdministrationRecords,
        block_records: BlockRecords,
        catalogue: Catalogue,
        keystore: KeyStore,
        require_store: Callable[[], None],
        cutter: Cutter,
        registration: Registration,
        peers: Mapping[str, Peer],
    ) -> None:
        """`require_store` raises Unavailable unless the key store is this KME's, in its newest state."""
        self._settings = settings
        self._records = records
        self._block_records = block_records
        self._catalogue = catalogue
        self._keystore = keystore
        self._require_store = require_store
        self._cutter = cutter
        self._registration = registration
        self._peers = peers
        self._back_offs: dict[object, BackOff] = {}

    # SAEs

    def sae(self, sae_id: str) -> Sae:
        """Raises NotHere where it is not registered at this KME."""
        return self._found(self._catalogue.sae(sae_id), sae_id)

    def has_sae(self, sae_id: str) -> bool:
        return self._catalogue.is_own(sae_id)

    def change_sae(self, sae_id: str, change: Callable[[Sae], Sae]) -> Sae:
        """Raises NotHere; or what `change` raises, and nothing changes."""
        sae = self._found(self._records.revise_sae(sae_id, change), sae_id)
        self._catalogue.changed()
        return sae

    def remove_sae(self, sae_id: str) -> list[Outcome]:
        """Removes an SAE and all its connections, at both their ends. Raises NotHere."""
        connections = self._found(self._records.remove_sae(sae_id), sae_id)
        try:
            self._catalogue.changed()
            self._require_store()
            self._keystore.forget_sae(sae_id)
        except Unavailable as error:  # it is removed, and seen to be within seconds; its counters do no harm
            log.warning("SAE %s is removed, which the key store has not heard of: %s", sae_id, error)
        return [self._come_through(one) for one in connections]

    # Connections

    def connection(self, connection_id: UUID) -> Connection:
        """Raises NotHere."""
        return self._found(self._catalogue.by_id(connection_id), connection_id)

    def change_connection(self, connection_id: UUID, change: Callable[[Connection], Connection]) -> Outcome:
        """Raises NotHere; or BadRequest, by `change` or where it breaks a limit, and nothing changes."""
        changed = self._records.revise(connection_id, lambda known: check_connection(change(known)))
        return self._come_through(self._found(changed, connection_id))

    def remove_connection(self, connection_id: UUID) -> Outcome:
        """Removes a connection and destroys its keys, at both ends. Raises NotHere."""
        removed = self._records.revise(connection_id, lambda known: replace(known, removed=True))
        return self._come_through(self._found(removed, connection_id))

    def learn(self, sender_kme_id: str, connection_id: UUID, offered: Connection) -> tuple[Connection, int]:
        """The other KME's side, also of a registration: the state that holds here now, and how many keys a removal has
        destroyed here. Raises BadRequest, or Conflict with what is known."""
        self._registration.check_from(sender_kme_id, connection_id, offered)
        held = self._records.follow(offered)
        return held, self._follow(held)

    # What is under way

    def step(self, now_s: float) -> None:
        """Goes on with every change that has not come through. For the scheduler."""
        self._burn_batches_of_removed()
        for one in self._records.unfinished():
            if not one.is_followed:
                self._follow(one.connection)
            peer_kme_id = self._other_end(one.connection)
            if not one.is_told and peer_kme_id is not None:
                self._tell_when_due(one.connection, peer_kme_id, now_s)

    def _tell_when_due(self, connection: Connection, peer_kme_id: str, now_s: float) -> None:
        """A KME that is not there is tried for all changes alike, one that refuses a change for that one."""
        refusal = (connection.connection_id, connection.revision)
        due = [self._back_offs[key] for key in (peer_kme_id, refusal) if key in self._back_offs]
        if not all(back_off.over(now_s) for back_off in due):
            return
        try:
            self._tell(connection, peer_kme_id)
        except PeerError as error:
            is_refusal = isinstance(error, Refused)
            key = refusal if is_refusal else peer_kme_id
            if key not in self._back_offs:  # a line when trouble begins
                log.warning("a change of connection %s has to wait: %s", connection.connection_id, error)
                self._back_offs[key] = BackOff(longest_s=REFUSED_PAUSE_S if is_refusal else AWAY_PAUSE_S)
            self._back_offs[key].failed(now_s)
        else:
            self._back_offs.pop(peer_kme_id, None)
            self._back_offs.pop(refusal, None)

    def _come_through(self, connection: Connection) -> Outcome:
        """One attempt, for the operator who waits for the answer; the scheduler makes the others."""
        try:
            destroyed_count = self._follow(connection)
        except Unavailable as error:
            log.warning("connection %s: the key store is to follow: %s", connection.connection_id, error)
            destroyed_count = None
        peer_kme_id = self._other_end(connection)
        if peer_kme_id is None:
            return Outcome(connection, destroyed_count, None, True)
        try:
            peer_destroyed_count = self._tell(connection, peer_kme_id)
        except PeerError as error:
            log.warning("connection %s: %s is still to be told: %s", connection.connection_id, peer_kme_id, error)
            return Outcome(connection, destroyed_count, peer_kme_id, False)
        return Outcome(connection, destroyed_count, peer_kme_id, True, peer_destroyed_count)

    def _follow(self, connection: Connection) -> int:
        """This site's key store and processes; how many keys were destroyed in all by a removal."""
        self._require_store()
        destroyed_count = self._keystore.follow_connection(connection)
        self._catalogue.changed()
        destroyed_count = self._records.set_followed(connection, destroyed_count)
        self._burn_batches_of_removed()
        return destroyed_count

    def _burn_batches_of_removed(self) -> None:
        for batch in self._block_records.void_batches_of_removed():
            self._cutter.burn(batch)

    def _tell(self, connection: Connection, peer_kme_id: str) -> int | None:
        path = f"/v1/connections/{connection.connection_id}"
        reply = self._peers[peer_kme_id].request("PUT", path, json=state_json(connection)).json
        self._records.set_told(connection)
        count = reply.get("destroyed_key_count") if isinstance(reply, dict) else None
        return count if isinstance(count, int) else None

    def _other_end(self, connection: Connection) -> str | None:
        ends = {connection.source_kme_id, connection.target_kme_id} - {self._settings.kme_id}
        return next(iter(ends), None)

    def _found(self, found: _Found | None, name: object) -> _Found:
        if found is None:
            raise NotHere(f"{name} is not registered at {self._settings.kme_id}")
        return found
