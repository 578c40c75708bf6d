"""One Key Management Entity, put together from its parts. Listeners (`kme.web`) and the scheduler are made from it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kme.account import Account, account_of, block_totals
from kme.administration import Administration
from kme.administration_records import AdministrationRecords
from kme.admission import Admission
from kme.audit import AuditTrail
from kme.batches import BatchPeer
from kme.catalogue import Catalogue
from kme.certificates import Certificates
from kme.cutting import Cutter
from kme.database import Database
from kme.delivery import Delivered, Delivery
from kme.directory import Directory
from kme.directory_source import DirectorySource, NothingToOrder, SparingConfirmation
from kme.durability import weaknesses
from kme.entropy import ByteCounts
from kme.event_feed import EventFeed
from kme.held_keys import HeldKeys
from kme.intake import Intake
from kme.kek_folder import KekFolder
from kme.kek_rotation import KekRotation
from kme.key_files import KeyFiles
from kme.key_records import KeyRecords
from kme.keyring import KeyRing
from kme.keystore import KeyStore
from kme.leadership import FencedDatabase, Leadership
from kme.lifecycle import Lifecycle
from kme.link_keeper import LinkKeeper
from kme.migrations import migrate
from kme.model import Connection, KmeSettings, Link
from kme.on_demand import OnDemand
from kme.owner import Owner
from kme.pace import Pace
from kme.quarantine import Quarantine
from kme.records import Records
from kme.registration import Registration
from kme.revocations import RevocationRecords
from kme.rounds import RoundReports, Rounds, in_thread
from kme.scheduler import Chore, Scheduler
from kme.voiding import VoidingPeer
from kme.witness import Witness, WitnessPeer
from kme.witness_records import WitnessRecords
from kme.witness_store import WitnessStore
from mutual_tls.client import Peer

log = logging.getLogger(__name__)


class Entity:
    """Opens its key-encryption keys, and nothing else: stores are first used by `prepare`, or by the first request.

    `kek` is the first key-encryption key (32 bytes), `keks` where later ones are, for a KME that changes it; `db` the
    folder with `migrations/` and `lua/`; `peers` the other KMEs by id, each for every link of the settings;
    `database_size` at least the number of threads that serve requests; `clock`, in seconds, stands for the key store's
    own time in tests; `delivered`: see `kme.delivery.Delivery`.
    """

    def __init__(
        self,
        settings: KmeSettings,
        *,
        postgres_dsn: str,
        redis_url: str,
        kek: bytes | None,
        db: Path,
        peers: Mapping[str, Peer],
        database_size: int = 8,
        clock: Callable[[], float] | None = None,
        keks: KekFolder | None = None,
        delivered: Delivered = lambda *_: None,
    ) -> None:
        self.settings = settings
        self.peers = peers
        self._dsn = postgres_dsn
        self._db = db
        self.keyring = KeyRing(kek, keks)
        self.database = Database(postgres_dsn, database_size, audit_key=self.keyring.audit_key)
        self.certificates = Certificates(self.database)
        self.events = EventFeed(self.database)
        self.revocations = RevocationRecords(self.database)
        self.keystore = KeyStore(redis_url, db / "lua", clock)
        self.kek_rotation = KekRotation(self.keystore, self.keyring)
        self.records = Records(self.database)
        self.reports = RoundReports(self.database)
        self.witness_store = WitnessStore(self.keystore)
        self.witness_peer = WitnessPeer(settings, self.witness_store)
        self.audit = AuditTrail(self.database, self.keystore, self.keyring.audit_key)
        self.catalogue = Catalogue(self.records, self.keystore)
        self.cutter = Cutter(self.keystore, self.keyring, settings.kept_after_pool_s)
        self.owner = Owner(settings, self.database, self.keystore, self.cutter, self.catalogue)
        self.block_records, self.request_records = self.owner.records, self.owner.requests
        self.confirmation, self.closure = self.owner.confirmation, self.owner.closure
        self.batch_owner = self.owner.batches
        self.byte_counts = ByteCounts(self.keystore, self.keyring)
        self.intake = Intake(settings, self.block_records, self.keyring, self.byte_counts)
        self.key_files = KeyFiles(self.database)
        self.batch_peer = BatchPeer(settings, self.block_records, self.cutter, self.catalogue)
        self.admission = Admission(settings, self.catalogue, self.keystore, self.require_store)
        self.registration = Registration(settings, self.records, self.catalogue, peers)
        self.administration = Administration(
            settings,
            AdministrationRecords(self.database, settings.kme_id),
            self.block_records,
            self.catalogue,
            self.keystore,
            self.require_store,
            self.cutter,
            self.registration,
            peers,
        )
        self.voiding_peer = VoidingPeer(self.block_records, self.cutter)
        self.directory = Directory(settings.kme_id, self.records, peers)
        self.lifecycle = Lifecycle(settings, KeyRecords(self.database), self.keystore, self.audit)
        self.on_demand = OnDemand(settings, self.owner, self.keystore, self.directory, peers)
        self.delivery = Delivery(
            settings,
            self.catalogue,
            self.keystore,
            self.keyring,
            self.on_demand,
            delivered,
            self.admission.admit,
        )
        self.held_keys = HeldKeys(self.catalogue, self.keystore, self.delivery)

    def prepare(self, saes: Iterable[str] = (), connections: Iterable[Connection] = ()) -> None:
        """Migrates the database, claims the key store, and registers what the topology lists. Safe to repeat, and by
        several processes at once. Raises Unavailable where a store does not answer, BadRequest where the topology asks
        for what can't be served, Conflict where it contradicts what is registered."""
        migrate(self._dsn, self._db / "migrations")
        self.claim_store()
        self.registration.seed(saes, connections)
        if self.settings.appendfsync != "always":
            chosen = self.settings.appendfsync
            log.warning("QKD_APPENDFSYNC is %s: a power failure may lose the last seconds' deliveries", chosen)
        for said in self.durability().values():
            log.warning("less durable than set: %s", said)

    def check(self) -> None:
        """Raises Unavailable, in words, unless both stores answer and are this KME's."""
        self.records.check()
        self.claim_store()

    def claim_store(self) -> None:
        """Raises Unavailable, in words, where Redis does not answer or holds another KME's keys."""
        self.keystore.claim(self.keyring)

    def require_store(self) -> None:
        """Raises Unavailable, in words, unless Redis is this KME's and was compared with the database since it started:
        what is changed there by a process that is not the scheduler would else be another KME's, or an old copy."""
        self.claim_store()
        self.witness_store.require_checked()

    def durability(self) -> dict[str, str]:
        """Empty, or under `durability` what is weaker than set."""
        found = weaknesses(self.database, self.keystore, self.settings.appendfsync)
        return {"durability": "; ".join(found)} if found else {}

    def account(self) -> Account:
        return account_of(self.block_records, self.keystore)

    def scheduler(
        self,
        qkde: Peer | None,
        *,
        saes: Iterable[str] = (),
        connections: Iterable[Connection] = (),
        clock: Callable[[], float] = time.monotonic,
        start_round: Callable[[Callable[[], None]], None] = in_thread,
        interval_s: float = 0.25,
    ) -> Scheduler:
        """`start_round` runs a round beside the rest; tests run it in place. `qkde` may be None where every link of the
        site has a folder. What it records, it records in office; but for what it reads from folders, where every step
        does nothing that took place before."""
        saes, connections = tuple(saes), tuple(connections)
        leadership = Leadership(self._dsn)
        database = FencedDatabase(self.database, leadership)
        reports, audit = RoundReports(database), AuditTrail(database, self.keystore, self.keyring.audit_key)

        def keeper(link: Link) -> LinkKeeper:
            settings = self.settings
            owner = Owner(settings, database, self.keystore, self.cutter, self.catalogue)
            if link.folder:
                settings = replace(settings, unconfirmed_after_s=settings.missing_file_after_s)
                owner.confirmation = SparingConfirmation(owner.confirmation, clock)
                rounds = NothingToOrder()
            else:
                assert qkde is not None
                rounds = Rounds(settings, link, qkde, reports, clock, start_round)
            return LinkKeeper(
                settings,
                link,
                self.peers[link.peer_kme_id],
                owner,
                self.keystore,
                self.catalogue,
                rounds,
                clock,
            )

        sources = [
            DirectorySource(self.settings, link, self.key_files, self.intake, self.keyring, clock)
            for link in self.settings.links
            if link.folder
        ]
        witness_records = WitnessRecords(database, self.settings.kme_id)
        pace = Pace(interval_s)
        witness = Witness(
            self.settings, witness_records, self.witness_store, self.catalogue, self.claim_store, clock, pace.hurry
        )
        peers = dict.fromkeys(link.peer_kme_id for link in self.settings.links)
        chores = [
            *(Chore(f"witness at {one}", partial(witness.exchange, one, self.peers[one])) for one in peers),
            Chore("quarantine", Quarantine(witness_records, self.keystore).step),
            *(Chore(f"the folder of link {one.link.name}", one.step) for one in sources),
            Chore("administration", lambda: self.administration.step(clock())),
            Chore("refused calls", self.admission.report),
            Chore("expiry", self.lifecycle.sweep),
            Chore("old records", self.lifecycle.forget_old),
            Chore("key-encryption key", self.kek_rotation.step),
        ]
        return Scheduler(
            [keeper(link) for link in self.settings.links],
            audit,
            lambda: self.prepare(saes, connections),
            self.check,
            pace,
            first=Chore("witness", witness.compare),
            chores=chores,
            leadership=leadership,
        )

    def pool_count(self, connection: Connection) -> int:
        return self.pool_counts([connection])[0]

    def pool_counts(self, connections: Sequence[Connection]) -> list[int]:
        return self.keystore.stored_key_counts([(one.connection_id, one.key_size_bits) for one in connections])

    def link_status(self, name: str) -> dict[str, Any]:
        """Where a link's bits come from, its blocks that still have some, the reports of its last rounds ordered here,
        and what was read from its folder, where it has one."""
        link = self.settings.link_named(name)
        assert link is not None
        blocks = block_totals(self.block_records, self.keystore, name)
        status = {"origin": link.origin, "blocks": blocks, "last_reports": self.reports.last(name, 5)}
        return status | {"folder": str(link.folder.path)} | self.key_files.totals(name) if link.folder else status

    def close(self) -> None:
        self.database.close()
        self.keystore.close()
