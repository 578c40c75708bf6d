"""One key by its id alone, as the APIs beside ETSI GS QKD 014 ask for it: who made it is found from whom it is for."""

from __future__ import annotations

from uuid import UUID

from kme.catalogue import Catalogue
from kme.delivery import Delivery
from kme.errors import BadRequest, NotEntitled
from kme.etsi014 import KEYS_NOT_FOUND
from kme.keystore import Entitlement, KeyStore
from kme.model import Connection, Key
from kme.witness_store import WitnessStore


class HeldKeys:
    def __init__(self, catalogue: Catalogue, keystore: KeyStore, delivery: Delivery) -> None:
        self._catalogue = catalogue
        self._keystore = keystore
        self._delivery = delivery
        self._witness = WitnessStore(keystore)

    def fetch(self, caller: str, key_id: UUID) -> tuple[Key, Connection | None]:
        """Gives a recipient its key, for the only time, and the connection it was made for. Raises as `dec_keys`."""
        found = self._entitlement(caller, key_id)
        if caller not in found.recipients:
            raise NotEntitled("the key is not for this SAE")
        (key,) = self._delivery.dec_keys(caller, found.master_sae_id, [key_id.bytes])
        return key, self._catalogue.by_id(found.connection_id)

    def _entitlement(self, caller: str, key_id: UUID) -> Entitlement:
        self._catalogue.admit(caller)
        found = self._keystore.entitlement_of(key_id)
        if found is None:
            self._witness.require_checked()  # else this may be another store
            raise BadRequest(KEYS_NOT_FOUND)
        return found
