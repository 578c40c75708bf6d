"""The witness: how a store that is behind is noticed, whichever it is, before anything is given out of it.

Every cut, delivery and destruction counts in Redis, in its own atomic step. What the count was a moment ago is known in
Postgres and at every peer. These are never ahead of it, since only what was read from Redis, which is durable then, is
written there; where one of them is ahead all the same, Redis has lost what took place. Postgres is behind where it has
less than Redis knows it to have acknowledged. Then a new epoch begins: what is of the old one is never delivered or cut
again, at either end, and is destroyed (`kme.quarantine`). docs/protocols.md tells what is noticed when.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from kme.catalogue import Catalogue
from kme.errors import KmeError, Unavailable
from kme.model import KmeSettings
from kme.witness_records import WitnessRecords
from kme.witness_store import Known, Mark, WitnessStore
from mutual_tls.client import Peer, PeerError

log = logging.getLogger(__name__)

FIRST = "its key store is new"
_TIMEOUT_S = 2.0  # a peer that hangs is to be asked again soon after it is well
_HEARTBEAT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """A peer's own mark, and what it has heard last of this KME's."""

    own: Mark
    heard: Mark


class Witness:
    """The scheduler's part: it compares, writes what it has read, and begins an epoch where something is behind."""

    def __init__(
        self,
        settings: KmeSettings,
        records: WitnessRecords,
        store: WitnessStore,
        catalogue: Catalogue,
        claim_store: Callable[[], None],
        clock: Callable[[], float],
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        """`hurry` is called when a peer has confirmed: what is shared with it may be used from then on."""
        self._settings = settings
        self._records = records
        self._store = store
        self._catalogue = catalogue
        self._claim_store = claim_store
        self._clock = clock
        self._hurry = hurry
        self._told: dict[str, tuple[Mark, float]] = {}
        self._said: dict[str, str] = {}

    def compare(self) -> None:
        """This site's two stores, one with the other. Raises Unavailable where one does not answer or is another KME's:
        nothing of that is touched."""
        self._claim_store()
        if self._compare():
            self._compare()

    def _compare(self) -> bool:
        """Whether an epoch has begun, which is still to be recorded."""
        # In this order: what Redis knew before, then Postgres, then Redis as it is now. Neither goes back, so no writer
        # in between can make one of them look behind.
        before = self._store.read()
        marks = self._records.read()
        now = self._store.read()
        if now.own and before.own and before.own.store != now.own.store:
            return False  # another epoch began in between
        own = marks.pop(self._settings.kme_id, None)
        if reason := _behind(before, own, now):
            self._begin(now.own, reason, own)
            return True
        assert now.own is not None
        if own is None or now.own.is_ahead_of(own):
            self._records.write(self._settings.kme_id, now.own, is_own=True)
        self._store.note_record(now.own, now.run)
        self._keep_peers(marks, now)
        return False

    def exchange(self, peer_kme_id: str, peer: Peer) -> None:
        """One look at a peer; what is wrong is said once, and tried again with the next."""
        try:
            self._ask(peer_kme_id, peer)
            if self._said.pop(peer_kme_id, None):
                log.info("%s confirms the witness again", peer_kme_id)
        except (KmeError, PeerError) as error:
            if self._said.get(peer_kme_id) != str(error):
                self._said[peer_kme_id] = str(error)
                log.warning("the witness can't be exchanged with %s: %s", peer_kme_id, error)

    def _ask(self, peer_kme_id: str, peer: Peer) -> None:
        """Tells a peer the mark of this store where it has changed, and hears its own."""
        now = self._store.read()
        if now.told is None or not now.is_checked:
            return  # `compare` comes first
        told, at_s = self._told.get(peer_kme_id, (None, 0.0))
        if peer_kme_id in now.confirmed and told == now.told and self._clock() - at_s < _HEARTBEAT_S:
            return
        reply = peer.request("PUT", "/v1/witness", json=mark_json(now.told), timeout_s=_TIMEOUT_S).json
        answer = answer_in(reply)
        current = self._store.read().told
        if current is None or current.store != now.told.store:
            return  # another epoch has begun meanwhile: the answer is about the last one
        if answer.heard.is_ahead_of(current):
            self._begin(current, f"{peer_kme_id} has seen more than the key store holds", answer.heard)
            return
        # What it says of itself may be behind what it has said since: then nothing changes, and it is asked again.
        self._store.hear(peer_kme_id, answer.own, answer.heard.store)
        self._told[peer_kme_id] = now.told, self._clock()
        if peer_kme_id not in now.confirmed:
            self._hurry()

    def _begin(self, known: Mark | None, reason: str, seen: Mark | None) -> None:
        """`seen`: what a witness had, so that the new epoch's number is greater than any."""
        epoch = 1 + max(mark.epoch if mark else 0 for mark in (known, seen))
        # The key store may have forgotten which connections were removed: it follows all of them again.
        self._records.follow_again()
        if self._store.begin(known, Mark(epoch, uuid4().hex, 0), reason):
            self._catalogue.changed()
            if reason == FIRST:
                log.info("epoch %d begins: %s", epoch, reason)
            else:
                log.error("epoch %d begins, all keys of the last one are destroyed: %s", epoch, reason)

    def _keep_peers(self, recorded: dict[str, Mark], now: Known) -> None:
        for kme_id, mark in now.peers.items():
            known = recorded.get(kme_id)
            if known is None or mark.is_ahead_of(known):
                self._records.write(kme_id, mark, is_own=False)
        for kme_id, mark in recorded.items():  # where Redis was lost, or is an old copy
            if kme_id not in now.peers or mark.is_ahead_of(now.peers[kme_id]):
                self._store.hear(kme_id, mark)


def _behind(before: Known, recorded: Mark | None, now: Known) -> str | None:
    """Why an epoch has to begin, in words."""
    if now.own is None:
        return now.reason or (FIRST if recorded is None else "the key store (Redis) is lost")
    if recorded is not None and recorded.is_ahead_of(now.own):
        return "the key store (Redis) is behind the database: it was restored, or is another one"
    acknowledged = before.acknowledged
    if acknowledged is not None and (recorded is None or acknowledged.is_ahead_of(recorded)):
        return "the database (Postgres) is behind the key store: it was restored, lost, or is another one"
    return None


class WitnessPeer:
    """The other side: what a peer says of its store is kept, and it is told what was heard of it before."""

    def __init__(self, settings: KmeSettings, store: WitnessStore) -> None:
        self._settings = settings
        self._store = store

    def hear(self, sender_kme_id: str, mark: Mark) -> Answer:
        """Raises Unavailable until this site's own two stores were compared since they started."""
        known = self._store.read()
        if known.told is None or not known.is_checked:
            raise Unavailable(f"{self._settings.kme_id} has not compared its own stores yet: try again")
        heard = self._store.hear(sender_kme_id, mark)
        return Answer(known.told, heard)


def mark_json(mark: Mark) -> dict[str, str | int]:
    return {"store": mark.store, "epoch": mark.epoch, "count": mark.count}


def answer_in(reply: object) -> Answer:
    """Raises Unavailable where it is not understood."""
    try:
        return Answer(_mark_in(reply), _mark_in(reply["heard"]))  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise Unavailable("the peer's answer to the witness is not understood") from None


def _mark_in(members: object) -> Mark:
    return Mark(int(members["epoch"]), str(members["store"]), int(members["count"]))  # type: ignore[index]
