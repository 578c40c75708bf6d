"""Who may ask for what, remembered in the process: delivering a key must not wait for Postgres."""

from __future__ import annotations

import threading
from uuid import UUID

from kme.errors import BadRequest, NotEntitled
from kme.model import Connection
from kme.records import Records


class Catalogue:
    """SAEs and connections never change once registered, so what was found stays true; what was not is looked up."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._saes: set[str] = set()
        self._connections: dict[UUID, Connection] = {}
        self._between: dict[tuple[str, str], Connection] = {}

    def admit(self, sae_id: str) -> None:
        """Raises NotEntitled for an SAE that is not registered at this KME."""
        if not self.is_own(sae_id):
            raise NotEntitled(f"SAE {sae_id} is not registered at this KME")

    def is_own(self, sae_id: str) -> bool:
        if sae_id in self._saes:
            return True
        if not self._records.has_sae(sae_id):
            return False
        with self._lock:
            self._saes.add(sae_id)
        return True

    def between(self, master_sae_id: str, slave_sae_id: str) -> Connection:
        """Raises BadRequest where the two are not connected."""
        connection = self._between.get((master_sae_id, slave_sae_id))
        if connection is None:
            connection = self._records.connection_between(master_sae_id, slave_sae_id)
            if connection is None:
                raise BadRequest(
                    f"no connection is registered from master SAE {master_sae_id} to slave SAE {slave_sae_id}"
                )
            self._remember([connection])
        return connection

    def by_id(self, connection_id: UUID) -> Connection | None:
        if connection_id not in self._connections:
            self._remember(self._records.connections())
        return self._connections.get(connection_id)

    def refresh(self) -> list[Connection]:
        connections = self._records.connections()
        self._remember(connections)
        return connections

    def _remember(self, connections: list[Connection]) -> None:
        with self._lock:
            for connection in connections:
                self._connections[connection.connection_id] = connection
                self._between[connection.master_sae_id, connection.slave_sae_id] = connection
