"""Keeps the pools of one link filled: confirm what came, settle what was cut, fill, order more, close what is empty."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from kme.batches import BatchOwner
from kme.block_records import BlockRecords
from kme.catalogue import Catalogue
from kme.closure import Closure
from kme.confirmation import Confirmation, Mismatch
from kme.errors import KmeError
from kme.keystore import KeyStore
from kme.model import Connection, KmeSettings, Link
from kme.planning import BackOff, Need, Watermarks, fair_shares
from kme.rounds import Rounds
from mutual_tls.client import Peer, PeerError, Refused

log = logging.getLogger(__name__)


class LinkKeeper:
    """One step at a time; each of its tasks is tried in every step, whatever became of the others."""

    def __init__(
        self,
        settings: KmeSettings,
        link: Link,
        peer: Peer,
        records: BlockRecords,
        keystore: KeyStore,
        catalogue: Catalogue,
        confirmation: Confirmation,
        batches: BatchOwner,
        closure: Closure,
        rounds: Rounds,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self.link = link
        self._peer = peer
        self._records = records
        self._keystore = keystore
        self._catalogue = catalogue
        self._confirmation = confirmation
        self._batches = batches
        self._closure = closure
        self._rounds = rounds
        self._clock = clock
        self._watermarks = Watermarks(settings.low_watermark)
        self._refused: dict[UUID, BackOff] = {}
        self._first_seen_s: dict[UUID, float] = {}
        self._said: dict[str, str] = {}

    def step(self) -> None:
        for task in (self._confirm, self._redrive, self._fill, self._close):
            name = task.__name__.strip("_")
            try:
                task()
                self._said.pop(name, None)
            except (KmeError, PeerError) as error:
                self._say(name, str(error))

    def _say(self, task: str, trouble: str) -> None:
        """One line when trouble begins or changes, not one per step."""
        if self._said.get(task) != trouble:
            self._said[task] = trouble
            log.warning("link %s: can't %s: %s", self.link.name, task, trouble)

    def _confirm(self) -> None:
        now_s = self._clock()
        waiting = self._records.blocks_of(self._settings.kme_id, self.link.name, "received")
        self._first_seen_s = {one.block_id: self._first_seen_s.get(one.block_id, now_s) for one in waiting}
        for block in waiting:
            try:
                self._confirmation.ask(block, self._peer)
            except Mismatch as mismatch:
                self._give_up(block.block_id, mismatch.message)
            except PeerError as error:
                if now_s - self._first_seen_s[block.block_id] >= self._settings.unconfirmed_after_s:
                    self._give_up(block.block_id, f"not confirmed in time: {error}")
                elif not (isinstance(error, Refused) and error.status == 404):
                    raise
                # 404: the peer's QKDE has not handed it over yet; that is not worth a line.

    def _give_up(self, block_id: UUID, reason: str) -> None:
        log.warning("link %s: block %s is given up: %s", self.link.name, block_id, reason)
        self._records.set_void(block_id, reason)

    def _redrive(self) -> None:
        self._batches.redrive(self.link, self._peer)

    def _fill(self) -> None:
        needs = self._needs()
        shares = fair_shares(needs, self._uncut_bits("confirmed"))
        try:
            for need, share in zip(needs, shares, strict=True):
                if share:
                    self._fill_one(need.connection, share)
        finally:
            self._order(sum(need.bits for need in needs) - self._filled_bits(needs))

    def _fill_one(self, connection: Connection, count: int) -> None:
        back_off = self._refused.setdefault(connection.connection_id, BackOff(0.5, 30.0))
        if back_off.over(self._clock()):
            try:
                self._batches.fill(connection, self.link, self._peer, connection.key_size_bits, count)
                back_off.succeeded()
            except KmeError:
                # Each refusal burns a batch: don't burn a block in a row.
                back_off.failed(self._clock())
                raise

    def _own_connections(self) -> list[Connection]:
        ends = (self._settings.kme_id, self.link.peer_kme_id)
        return [one for one in self._catalogue.refresh() if (one.source_kme_id, one.target_kme_id) == ends]
