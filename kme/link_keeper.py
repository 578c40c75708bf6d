"""Keeps the pools of one link filled: confirm what came, settle what was cut, fill, order more, close what is empty,
drop what came here alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

from kme.batches import BatchRefused
from kme.catalogue import Catalogue
from kme.confirmation import Mismatch
from kme.errors import KmeError
from kme.keystore import KeyStore
from kme.model import Block, Connection, KmeSettings, Link
from kme.owner import Owner
from kme.planning import Ages, BackOff, Need, Watermarks, is_short, whole_requests
from kme.qos import Claim, FillRates, shares
from kme.rounds import Orders
from mutual_tls.client import Peer, PeerError, Refused

log = logging.getLogger(__name__)

# The owner gives an unconfirmed block up after `unconfirmed_after_s` and says so. The other end waits this many times
# as long, so that it acts alone only where the owner never will.
_PEER_PATIENCE = 3
# Both QKDEs hand a block over as soon as it is made; it takes two KMEs a moment to confirm it.
_COMES_WITHIN_S = 5.0


class LinkKeeper:
    """One step at a time; each of its tasks is tried in every step, whatever became of the others."""

    def __init__(
        self,
        settings: KmeSettings,
        link: Link,
        peer: Peer,
        owner: Owner,
        keystore: KeyStore,
        catalogue: Catalogue,
        rounds: Orders,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self.link = link
        self._peer = peer
        self.owner = owner
        self._records = owner.records
        self._requests = owner.requests
        self._keystore = keystore
        self._catalogue = catalogue
        self._rounds = rounds
        self._clock = clock
        self._watermarks = Watermarks(settings.low_watermark)
        self._rates = FillRates()
        self._refused: dict[UUID, BackOff] = {}
        self._own_ages, self._peer_ages, self._request_ages, self._coming_ages = Ages(), Ages(), Ages(), Ages()
        self._said: dict[str, str] = {}

    def step(self) -> None:
        for task in (self._confirm, self._redrive, self._void, self._fill, self._close, self._drop):
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
        waiting = self._blocks("received")
        ages_s = self._own_ages.at(self._clock(), [one.block_id for one in waiting])
        for block in waiting:
            try:
                self.owner.confirmation.ask(block, self._peer)
            except Mismatch as mismatch:
                self._give_up(block.block_id, mismatch.message)
            except PeerError as error:
                if ages_s[block.block_id] >= self._settings.unconfirmed_after_s:
                    self._give_up(block.block_id, f"not confirmed in time: {error}")
                elif not (isinstance(error, Refused) and error.status == 404):
                    raise
                # 404: the peer's QKDE has not handed it over yet; that is not worth a line.

    def _give_up(self, block_id: UUID, reason: str) -> None:
        log.warning("link %s: block %s is given up: %s", self.link.name, block_id, reason)
        self._records.set_void(block_id, reason)

    def _redrive(self) -> None:
        self.owner.batches.redrive(self.link, self._peer)

    def _void(self) -> None:
        """What a request left behind: it ended without its keys, or its process did."""
        waiting = {one.batch_id: one for one in self._requests.unsettled(self.link.name, "recorded")}
        for batch_id, age_s in self._request_ages.at(self._clock(), list(waiting)).items():
            if age_s >= self._settings.request_patience_s and (request_id := waiting[batch_id].request_id):
                self._requests.start_voiding(request_id)
        for batch in self._requests.unsettled(self.link.name, "voiding"):
            self.owner.voiding.void(batch, self._peer)

    def _fill(self) -> None:
        self.owner.require_confirmed(self.link.peer_kme_id)
        connections = [one for one in self._own_connections() if not one.suspended]
        claims = [self._rates.claim(need, self._clock()) for need in self._needs(connections)]
        claims.sort(key=lambda claim: -claim.priority)
        supply_bits = self._order_what_is_short(connections, claims)
        refused: BatchRefused | None = None
        for claim, share in zip(claims, shares(claims, supply_bits), strict=True):
            back_off = self._refused.setdefault(claim.need.connection.connection_id, BackOff(0.5, 30.0))
            if share and back_off.over(self._clock()):
                try:
                    self._fill_one(claim.need, share)
                    back_off.succeeded()
                except BatchRefused as error:
                    # Each refusal burns a batch: this pool has to wait, so that it does not burn whole blocks.
                    back_off.failed(self._clock())
                    refused = error
        if refused:
            raise refused

    def _fill_one(self, need: Need, count: int) -> None:
        connection = need.connection
        filled_count = self.owner.batches.fill(connection, self.link, self._peer, connection.key_size_bits, count)
        self._rates.filled(connection, filled_count, self._clock())
        if filled_count == need.missing_count:
            self._watermarks.filled(connection)

    def _own_connections(self) -> list[Connection]:
        """Those whose pools this link fills. Two SAEs of this site have no link of their own: any feeds them."""
        here = self._settings.kme_id
        own = [one for one in self._catalogue.connections() if one.source_kme_id == here]
        far = [one for one in own if one.target_kme_id == self.link.peer_kme_id]
        local = [one for one in own if one.is_local]
        return far + local if local and self._feeds_local(local) else far

    def _feeds_local(self, local: list[Connection]) -> bool:
        """The first link of the site that has bits left; where none has, the first, which then orders some."""
        links, size_bits = self._settings.links, max(one.key_size_bits for one in local)
        rich = (one for one in links if self._records.uncut_key_count(self._settings.kme_id, one.name, size_bits))
        return next(rich, links[0]) == self.link

    def _needs(self, connections: list[Connection]) -> list[Need]:
        pending = self._records.pending_key_counts()
        stored = self._keystore.stored_key_counts([(one.connection_id, one.key_size_bits) for one in connections])
        needs = []
        for one, stored_count in zip(connections, stored, strict=True):
            pending_count = pending.get((one.connection_id, one.key_size_bits), 0)
            needs.append(self._watermarks.need(one, stored_count, pending_count))
        return [need for need in needs if need]

    def _order_what_is_short(self, connections: list[Connection], claims: list[Claim]) -> int:
        """Orders a round where the blocks at hand can't fill the pools and leave the reserve; the bits to cut now."""
        if not connections:
            return 0
        # The rest of a block that is too short for a key of some connection is no supply for that one.
        largest_bits = max(one.key_size_bits for one in connections)
        blocks = self._blocks("arriving", "received", "confirmed")
        coming = self._coming([one for one in blocks if one.state != "confirmed"])
        confirmed = [one for one in blocks if one.state == "confirmed" and one.uncut_bits >= largest_bits]
        uncut_bits = [one.uncut_bits for one in confirmed]
        wanted = whole_requests(connections) + self._requests.wanted(self.link.name)
        needed_bits = sum(claim.bits for claim in claims)
        if is_short(uncut_bits + [one.length_bits for one in coming], needed_bits, self._settings.reserve_bits, wanted):
            self._rounds.order()
        return sum(uncut_bits)

    def _coming(self, blocks: list[Block]) -> list[Block]:
        """Those that will be confirmed any moment. One of which a QKDE died with its half never is: until it is given
        up, the pools must not wait for it."""
        ages_s = self._coming_ages.at(self._clock(), [one.block_id for one in blocks])
        return [one for one in blocks if ages_s[one.block_id] < _COMES_WITHIN_S]

    def _blocks(self, *states: str) -> list[Block]:
        return self._records.blocks_of(self._settings.kme_id, self.link.name, *states)

    def _peer_blocks(self, state: str) -> list[Block]:
        return self._records.blocks_of(self.link.peer_kme_id, self.link.name, state)

    def _close(self) -> None:
        connections = self._own_connections()
        if connections:
            smallest_bits = min(one.key_size_bits for one in connections)
            self._records.start_closing(self._settings.kme_id, self.link.name, smallest_bits)
        for block in self._blocks("closing"):
            self.owner.closure.ask(block, self._peer)

    def _drop(self) -> None:
        """The peer's blocks that it never asks about, since they did not reach it: they are of no use to anyone.

        Nothing was cut from them, as they are not confirmed; a later question is answered that they are closed.
        """
        waiting = self._peer_blocks("received")
        ages_s = self._peer_ages.at(self._clock(), [one.block_id for one in waiting])
        for block_id, age_s in ages_s.items():
            if age_s >= _PEER_PATIENCE * self._settings.unconfirmed_after_s:
                self._give_up(block_id, f"{self.link.peer_kme_id} did not ask to confirm it in {age_s:.0f} s")
        for block in self._peer_blocks("closing"):
            self.owner.closure.close(block)
