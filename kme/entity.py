"""One Key Management Entity, put together from its parts. Listeners (`kme.web`) and the scheduler are made from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kme.account import Account, account_of, block_totals
from kme.audit import AuditTrail
from kme.batches import BatchOwner, BatchPeer
from kme.block_records import BlockRecords
from kme.catalogue import Catalogue
from kme.certificates import Certificates
from kme.closure import Closure
from kme.confirmation import Confirmation
from kme.cutting import Cutter
from kme.database import Database
from kme.delivery import Delivery
from kme.intake import Intake
from kme.keystore import KeyStore
from kme.keywrap import KeyWrap
from kme.link_keeper import LinkKeeper
from kme.migrations import migrate
from kme.model import Connection, KmeSettings
from kme.records import Records
from kme.registration import Registration
from kme.rounds import RoundReports, Rounds, in_thread
from kme.scheduler import Scheduler
from mutual_tls.client import Peer


class Entity:
    """Opens nothing by itself: stores are first used by `prepare`, or by the first request.

    `kek` is the key-encryption key (32 bytes); `db` the folder with `migrations/` and `lua/`; `peers` the other KMEs by
    id, each for every link of the settings; `database_size` at least the number of threads that serve requests.
    """

    def __init__(
        self,
        settings: KmeSettings,
        *,
        postgres_dsn: str,
        redis_url: str,
        kek: bytes,
        db: Path,
        peers: Mapping[str, Peer],
        database_size: int = 8,
    ) -> None:
        self.settings = settings
        self.peers = peers
        self._dsn = postgres_dsn
        self._db = db
        self.database = Database(postgres_dsn, database_size)
        self.certificates = Certificates(self.database)
        self.keystore = KeyStore(redis_url, db / "lua")
        self.keywrap = KeyWrap(kek)
        self.records = Records(self.database)
        self.block_records = BlockRecords(self.database)
        self.reports = RoundReports(self.database)
        self.audit = AuditTrail(self.database, self.keystore)
        self.catalogue = Catalogue(self.records)
        self.cutter = Cutter(self.keystore, self.keywrap)
        self.intake = Intake(settings, self.block_records, self.keystore, self.keywrap)
        self.confirmation = Confirmation(settings, self.block_records, self.cutter)
        self.closure = Closure(settings, self.block_records, self.keystore)
        self.batch_owner = BatchOwner(settings, self.block_records, self.cutter, self.catalogue)
        self.batch_peer = BatchPeer(settings, self.block_records, self.cutter, self.catalogue)
        self.registration = Registration(settings, self.records, peers)
        self.delivery = Delivery(settings, self.catalogue, self.keystore, self.keywrap, self.batch_owner, peers)

    def prepare(self, saes: Iterable[str] = (), connections: Iterable[Connection] = ()) -> None:
        """Migrates the database, claims the key store, and registers what the topology lists. Safe to repeat, and by
        several processes at once. Raises Unavailable where a store does not answer, BadRequest where the topology asks
        for what can't be served, Conflict where it contradicts what is registered."""
        migrate(self._dsn, self._db / "migrations")
        self.keystore.claim(self.keywrap.fingerprint)
        self.registration.seed(saes, connections)

    def check(self) -> None:
        """Raises Unavailable, in words, unless both stores answer and are this KME's."""
        self.records.check()
        self.keystore.claim(self.keywrap.fingerprint)

    def account(self) -> Account:
        return account_of(self.block_records, self.keystore)

    def scheduler(
        self,
        qkde: Peer,
        *,
        saes: Iterable[str] = (),
        connections: Iterable[Connection] = (),
        clock: Callable[[], float] = time.monotonic,
        start_round: Callable[[Callable[[], None]], None] = in_thread,
        interval_s: float = 0.25,
    ) -> Scheduler:
        """`start_round` runs a round beside the rest; tests run it in place."""
        saes, connections = tuple(saes), tuple(connections)
        keepers = [
            LinkKeeper(
                self.settings,
                link,
                self.peers[link.peer_kme_id],
                self.block_records,
                self.keystore,
                self.catalogue,
                self.confirmation,
                self.batch_owner,
                self.closure,
                Rounds(self.settings, link, qkde, self.reports, clock, start_round),
                clock,
            )
            for link in self.settings.links
        ]
        return Scheduler(keepers, self.audit, lambda: self.prepare(saes, connections), self.check, interval_s)

    def pool_count(self, connection: Connection) -> int:
        return self.keystore.stored_key_count(connection.connection_id, connection.key_size_bits)

    def link_status(self, name: str) -> dict[str, Any]:
        """The blocks of a link that still have bits, and the reports of its last rounds ordered here."""
        blocks = block_totals(self.block_records, self.keystore, name)
        return {"blocks": blocks, "last_reports": self.reports.last(name, 5)}

    def close(self) -> None:
        self.database.close()
        self.keystore.close()
