"""Who may ask for what, remembered in the process: delivering a key must not wait for Postgres."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from kme.errors import BadRequest, NotEntitled, Suspended, Unavailable
from kme.keystore import CatalogueChanged, KeyStore
from kme.model import Connection, Sae, connection_id_of
from kme.records import Records

log = logging.getLogger(__name__)
Decided = TypeVar("Decided")
CHANGES_IN_A_REQUEST = 5
_OLD_AFTER_S = 10.0


@dataclass(frozen=True)
class Known:
    """What Postgres held at one moment, and the mark that the key store had just before."""

    mark: bytes | None = None
    read_at_s: float = float("-inf")
    saes: dict[str, Sae] = field(default_factory=dict)
    connections: dict[UUID, Connection] = field(default_factory=dict)

    def admit(self, sae_id: str) -> Sae:
        """Raises NotEntitled for an SAE that is not registered at this KME, or is suspended."""
        sae = self.saes.get(sae_id)
        if sae is None:
            raise NotEntitled(f"SAE {sae_id} is not registered at this KME")
        if sae.suspended:
            raise Suspended(f"SAE {sae_id} is suspended at this KME: its operator can resume it")
        return sae

    def between(self, master_sae_id: str, slave_sae_id: str) -> Connection:
        """Raises BadRequest where the two are not connected, or their connection is suspended."""
        connection = self.connections.get(connection_id_of(master_sae_id, slave_sae_id))
        if connection is None:
            raise BadRequest(f"no connection is registered from master SAE {master_sae_id} to slave SAE {slave_sae_id}")
        refuse_suspended(connection)
        return connection


class Catalogue:
    """SAEs and connections as the site's Postgres has them.

    Whoever changes one leaves a new mark in the key store (`changed`). Every look-up compares it, or has the script
    compare it that delivers (`decided`), so a suspension holds in all processes from the moment its call is answered.
    Where a mark was not left, since its process died, the change is seen after 10 s.
    """

    def __init__(
        self,
        records: Records,
        keystore: KeyStore,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`start` runs something beside the request; by default in a thread."""
        self._records = records
        self._keystore = keystore
        self._clock = clock
        self._start = start or _in_thread
        self._tried_at_s = float("-inf")
        self._reading = threading.Lock()
        self._known = Known()

    def changed(self) -> None:
        """Tells every process of the site that SAEs or connections have changed: call it after the commit."""
        self._keystore.leave_catalogue_mark()
        self._known = Known()

    def sae(self, sae_id: str) -> Sae | None:
        """The SAE, where it is registered at this KME."""
        return self.current().saes.get(sae_id)

    def is_own(self, sae_id: str) -> bool:
        """Whether it is registered at this KME, suspended or not."""
        return self.sae(sae_id) is not None

    def admit(self, sae_id: str) -> Sae:
        """As `Known.admit`."""
        return self.current().admit(sae_id)

    def between(self, master_sae_id: str, slave_sae_id: str) -> Connection:
        """As `Known.between`."""
        return self.current().between(master_sae_id, slave_sae_id)

    def by_id(self, connection_id: UUID) -> Connection | None:
        """Suspended or not."""
        return self.current().connections.get(connection_id)

    def connections(self) -> list[Connection]:
        """All connections, in the order of their registration, as every look-up sees them."""
        return list(self.current().connections.values())

    def refresh(self) -> list[Connection]:
        """All connections, in the order of their registration, as Postgres has them now."""
        mark = self._keystore.catalogue_mark()
        with self._reading:
            return list(self._read(mark).connections.values())

    def decided(self, decide: Callable[[Known], Decided]) -> Decided:
        """What `decide` makes of SAEs and connections, without a look at the key store while nothing changes: it goes
        by what is remembered, and has the script that does it compare the mark (CatalogueChanged). Only by what is
        known now it refuses."""
        known = self.remembered()
        for _ in range(CHANGES_IN_A_REQUEST):
            try:
                return decide(known)
            except CatalogueChanged:
                known = self.current()
            except (BadRequest, NotEntitled):
                now = self.current()
                if now.mark == known.mark:
                    raise
                known = now
        raise Unavailable("SAEs and connections are being changed: try again")

    def remembered(self) -> Known:
        """What was known last, 10 s ago or so at most."""
        known = self._known
        if known.mark is None:
            return self.current()
        self._renew_if_old(known)
        return self._known

    def current(self) -> Known:
        mark, known = self._keystore.catalogue_mark(), self._known
        if mark is None or mark != known.mark:
            with self._reading:
                # Another thread may have read it since. A mark of None is one that a lost store has not got back yet.
                return self._known if mark is not None and self._known.mark == mark else self._read(mark)
        self._renew_if_old(known)
        return self._known

    def _renew_if_old(self, known: Known) -> None:
        """Nothing is known to have changed, so no delivery waits for Postgres."""
        now = self._clock()
        if now - max(known.read_at_s, self._tried_at_s) > _OLD_AFTER_S:
            self._tried_at_s = now
            self._start(lambda: self._look_again(known.mark))

    def _look_again(self, mark: bytes | None) -> None:
        try:
            with self._reading:
                self._read(mark)
        except Exception as error:
            log.warning("SAEs and connections can't be read again now: %s", type(error).__name__)

    def _read(self, mark: bytes | None) -> Known:
        # The mark was read first: a change in between has a later one, and is read with the next look-up.
        saes, connections = self._records.saes(), self._records.connections()
        found = Known(
            mark,
            self._clock(),
            {one.sae_id: one for one in saes},
            {one.connection_id: one for one in connections},
        )
        self._known = found
        return found


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="catalogue", daemon=True).start()


def refuse_suspended(connection: Connection) -> None:
    """Raises BadRequest: like a connection that is not registered, and not like a caller that is not admitted."""
    if connection.suspended:
        ends = f"from master SAE {connection.master_sae_id} to slave SAE {connection.slave_sae_id}"
        raise BadRequest(f"the connection {ends} is suspended")
