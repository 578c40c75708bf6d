"""Registering SAEs and connections: what one KME is told, both know. Changes and removal: `kme.administration`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from kme.catalogue import Catalogue
from kme.errors import BadRequest, Conflict, Unavailable
from kme.limits import check_connection, check_sae_id
from kme.model import Connection, KmeSettings
from kme.peer_wire import state_json
from kme.records import Records, refuse_contradiction
from mutual_tls.client import Peer, PeerError, Refused


class Registration:
    def __init__(
        self, settings: KmeSettings, records: Records, catalogue: Catalogue, peers: Mapping[str, Peer]
    ) -> None:
        self._settings = settings
        self._records = records
        self._catalogue = catalogue
        self._peers = peers

    def add_sae(self, sae_id: str) -> bool:
        """Registers an SAE at this KME; whether it is new. Raises Conflict where it is known to be at another."""
        check_sae_id(sae_id, "sae_id")
        return self._add_sae(sae_id, again=True)

    def _add_sae(self, sae_id: str, again: bool) -> bool:
        self._refuse_elsewhere(sae_id, self._settings.kme_id)
        is_new = self._records.add_sae(sae_id, again)
        if is_new:
            self._catalogue.changed()
        return is_new

    def has_sae(self, sae_id: str) -> bool:
        """Whether it is registered at this KME."""
        return self._records.has_sae(sae_id)

    def connect(self, connection: Connection) -> bool:
        """Registers a connection at both KMEs, the other first, or here alone if both SAEs are here; whether it is new.

        Raises BadRequest, Conflict with what is known at either KME, or Unavailable; then it is not known here. Where
        the other KME has heard of it all the same, registering it again completes it.
        """
        other_kme_id = self._check(connection)
        known = self._records.connection_between(connection.master_sae_id, connection.slave_sae_id)
        if known is not None and not known.removed:
            refuse_contradiction(known, connection)
            return False
        if known is not None:
            # Later than its removal, so that this is no late call from before.
            connection = replace(connection, revision=known.revision + 1, revised_by=self._settings.kme_id)
        if connection.is_local:
            is_new = self._records.add_connection(connection)
            self._catalogue.changed()
            return is_new
        try:
            self._peers[other_kme_id].request(
                "PUT", f"/v1/connections/{connection.connection_id}", json=state_json(connection)
            )
        except Refused as refused:
            if refused.status == 409:
                raise Conflict(refused.message) from None
            if refused.status == 400:
                raise BadRequest(refused.message) from None
            raise Unavailable(f"nothing was registered: {refused.message}") from None
        except PeerError as error:
            raise Unavailable(f"nothing was registered, since both KMEs must know a connection: {error}") from None
        is_new = self._records.add_connection(connection)
        self._catalogue.changed()
        return is_new

    def check_from(self, sender_kme_id: str, connection_id: UUID, connection: Connection) -> None:
        """What the other KME says of a connection. Raises BadRequest or Conflict where that can't be."""
        if sender_kme_id not in (connection.source_kme_id, connection.target_kme_id):
            raise BadRequest(f"{sender_kme_id} can't register a connection it does not end")
        if connection_id != connection.connection_id:
            raise BadRequest(f"connection_id: expected {connection.connection_id} for these SAEs")
        if self._settings.kme_id not in (connection.source_kme_id, connection.target_kme_id):
            raise BadRequest(f"the connection does not end at {self._settings.kme_id}")
        if connection.removed:
            # Its SAEs need not be registered any more; but nobody removes a connection of another KME's SAE.
            is_source = sender_kme_id == connection.source_kme_id
            self._refuse_elsewhere(connection.master_sae_id if is_source else connection.slave_sae_id, sender_kme_id)
        elif self._check(connection) != sender_kme_id:
            raise BadRequest(f"the connection does not end at {sender_kme_id}")

    def seed(self, saes: Iterable[str], connections: Iterable[Connection]) -> None:
        """What the topology lists: the other KME reads the same list, so it need not be there. Raises as `connect`.

        What an operator has changed or removed since stays as it is.
        """
        self._records.set_links(self._settings.links)
        for sae_id in saes:
            check_sae_id(sae_id, "sae_id")
            self._add_sae(sae_id, again=False)
        for connection in connections:
            try:
                check_connection(connection)
            except BadRequest as error:
                ends = f"from {connection.master_sae_id!r} to {connection.slave_sae_id!r}"
                raise BadRequest(f"the topology's connection {ends}: {error.message}") from None
            known = self._records.connection_between(connection.master_sae_id, connection.slave_sae_id)
            if known is None or not known.revision:
                self._check(connection)
                self._records.add_connection(connection)

    def _check(self, connection: Connection) -> str:
        """The KME at the other end of a connection that ends here, between SAEs that can be served."""
        here, ends = self._settings.kme_id, (connection.source_kme_id, connection.target_kme_id)
        if here not in ends:
            raise BadRequest(
                f"source_KME_ID, target_KME_ID: expected one of them to be {here}, got {ends[0]}, {ends[1]}"
            )
        if connection.is_local:
            self._check_local(connection)
            return here
        is_source = here == connection.source_kme_id
        other, member = (ends[1], "target_KME_ID") if is_source else (ends[0], "source_KME_ID")
        if self._settings.link_to(other) is None:
            peers = ", ".join(link.peer_kme_id for link in self._settings.links) or "none"
            raise BadRequest(f"{member}: no link leads from {here} to {other}: expected one of {peers}")
        saes = (connection.master_sae_id, connection.slave_sae_id)
        own_sae, other_sae = saes if is_source else saes[::-1]
        member = "master_SAE_ID" if is_source else "slave_SAE_ID"
        self._check_registered(own_sae, member)
        self._refuse_elsewhere(other_sae, other)
        return other

    def _check_local(self, connection: Connection) -> None:
        if not self._settings.links:
            raise BadRequest(
                f"target_KME_ID: no link ends at {self._settings.kme_id}, and keys for two SAEs of one KME are cut from"
                " a link's blocks"
            )
        self._check_registered(connection.master_sae_id, "master_SAE_ID")
        self._check_registered(connection.slave_sae_id, "slave_SAE_ID")

    def _check_registered(self, sae_id: str, member: str) -> None:
        here = self._settings.kme_id
        if not self._records.has_sae(sae_id):
            raise BadRequest(
                f"{member}: SAE {sae_id} is not registered at {here}: register it there first,"
                f' POST /v1/saes {{"sae_id": ...}} or `qkd-lab register sae`'
            )

    def _refuse_elsewhere(self, sae_id: str, kme_id: str) -> None:
        """SAE ids are unique in the network: one that lives at two KMEs would get keys meant for another."""
        here = self._settings.kme_id
        known = self._records.kmes_of_sae(sae_id) | ({here} if self._records.has_sae(sae_id) else set())
        if elsewhere := ", ".join(sorted(known - {kme_id})):
            raise Conflict(
                f"SAE {sae_id} is at {elsewhere}, as {here} knows it, so it can't be at {kme_id}:"
                " SAE ids are unique in the network, choose another"
            )
