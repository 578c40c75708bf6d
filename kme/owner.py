"""All that a KME does with blocks it owns, over one database: the scheduler's is fenced, that of requests is not.

A request that cuts on demand needs no leader: the range is recorded under the lock of the link's row, so that no two
processes cut the same bits, and every step after it does nothing where it took place before.
"""

from __future__ import annotations

from kme.batches import BatchOwner
from kme.block_records import BlockRecords
from kme.catalogue import Catalogue
from kme.closure import Closure
from kme.confirmation import Asking, Confirmation
from kme.cutting import Cutter
from kme.database import Database
from kme.keystore import KeyStore
from kme.model import KmeSettings
from kme.request_records import RequestRecords
from kme.voiding import Voiding


class Owner:
    def __init__(
        self, settings: KmeSettings, database: Database, keystore: KeyStore, cutter: Cutter, catalogue: Catalogue
    ) -> None:
        self.require_confirmed = cutter.require_confirmed
        self.records = BlockRecords(database)
        self.requests = RequestRecords(database)
        self.confirmation: Asking = Confirmation(settings, self.records, cutter)
        self.batches = BatchOwner(settings, self.records, cutter, catalogue)
        self.voiding = Voiding(self.requests, cutter)
        self.closure = Closure(settings, self.records, keystore)
