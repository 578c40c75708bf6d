"""The two ends of a link as a QKDE hosts them: Alice answers messages, Bob leads rounds, one at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from mutual_tls.client import Peer
from qkde.bb84.alice import Alice
from qkde.bb84.bob import run_bob
from qkde.bb84.errors import RoundFailed
from qkde.bb84.messages import Message, StartRound, decode, encode
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.ports import Clock, Randomness
from qkde.bb84.report import Block
from qkde.classical.channel import ClassicalChannel
from qkde.link.client import LinkClient
from qkde.node.devices import LinkDevice
from qkde.node.halt import Halt
from qkde.node.handover import Handover
from qkde.node.orders import ask
from qkde.node.pads import FilePads
from qkde.node.spool import Spool

BUSY_WAIT_S = 60.0
ROUND_TIMEOUT_S = 180.0
# Longer than Bob goes on trying: after it nothing more will come for this round.
SILENCE_LIMIT_S = 90.0
ORDERS_REMEMBERED = 64


RandomnessOfRound = Callable[[str], Randomness]  # by the round's owner; asked once for each


class Busy(Exception):
    """Another round is running on the link and did not end in time."""


class UnexpectedRound(Exception):
    """A round that no KME of this link ordered, or with other parameters than the link's, or on one that is stopped."""


class LinkStopped(Exception):
    """An operator keeps the link from making key."""


@dataclass(frozen=True)
class LinkEnd:
    """What a QKDE knows of one of its links. `owners`: the KMEs of the two sites, the own site's first."""

    link: str
    owners: tuple[str, str]
    other_qkde: Peer
    quantum: Peer
    parameters: RoundParameters
    randomness: RandomnessOfRound
    pads: FilePads
    clock: Clock
    spool: Spool
    handover: Handover
    reports: deque[dict[str, Any]] = field(repr=False)
    halt: Halt

    def check_runs(self) -> None:
        """Raises LinkStopped."""
        if self.halt.is_on:
            raise LinkStopped(f"link {self.link} was stopped by an operator")

    def device(self, block_id: str) -> LinkDevice:
        return LinkDevice(LinkClient(self.quantum, UUID(block_id)))


class AliceEnd:
    """Answers Bob's messages. An unfinished round ends when the next one starts, or after too long a silence."""

    def __init__(self, end: LinkEnd) -> None:
        self.end = end
        self._alice: Alice | None = None
        self._started: StartRound | None = None
        self._heard_s = 0.0
        self._ordered: deque[str] = deque(maxlen=ORDERS_REMEMBERED)
        self._lock = threading.Lock()

    def order(self, block_id: str, owner: str) -> dict[str, Any]:
        """The own KME wants a block: Bob leads, so he is told. The report; raises LinkStopped, PeerError, Busy."""
        self.end.check_runs()
        self._ordered.append(block_id)
        path = f"/v1/links/{self.end.link}/orders"
        order, until_s = {"block_id": block_id, "owner": owner}, self.end.clock() + ROUND_TIMEOUT_S
        report = ask(self.end.other_qkde, path, order, lambda: self.end.clock() > until_s)
        if report is None:
            raise Busy(f"link {self.end.link}: the round does not end")
        return report

    def answer(self, octets: bytes) -> bytes:
        """One message of Bob's, one answer. Raises UnexpectedRound, MalformedMessage, DeviceUnavailable."""
        message = decode(octets)
        with self._lock:
            if isinstance(message, StartRound) and message != self._started:
                self._start(message)
            if self._alice is None:
                raise UnexpectedRound("no round was started here")
            self._heard_s = self.end.clock()
            answer = encode(self._handle(self._alice, message))
        threading.Thread(target=self._work_ahead, name="alice-ahead", daemon=True).start()
        return answer

    def expire(self) -> None:
        """Ends a round in which nothing was heard for too long."""
        with self._lock:
            silent_s = self.end.clock() - self._heard_s
            if self._alice and self._alice.report is None and silent_s > SILENCE_LIMIT_S:
                self._end_round(f"nothing was heard from Bob for {silent_s:.0f} s")

    def _work_ahead(self) -> None:
        with self._lock, suppress(RoundFailed):  # it fails once more when Bob asks for it, and then he is told
            if self._alice:
                self._alice.work_ahead()

    def _handle(self, alice: Alice, message: Message) -> Message:
        was_over = alice.report is not None
        answer = alice.handle(message)
        if alice.report and not was_over:
            self.end.reports.append(alice.report.to_json())
        return answer

    def _start(self, message: StartRound) -> None:
        own, other = self.end.owners
        if message.owner not in (own, other) or (message.owner == own and message.block_id not in self._ordered):
            raise UnexpectedRound(f"{message.owner} did not order block {message.block_id}")
        if self.end.halt.is_on:
            raise UnexpectedRound(f"link {self.end.link} was stopped by an operator at Alice's end")
        if message.parameters != self.end.parameters:
            raise UnexpectedRound(f"the two ends of link {self.end.link} are set to different round parameters")
        if self._alice and self._alice.report is None:
            self._end_round("Bob has started another round")
        end = self.end
        device = end.device(message.block_id)
        randomness = end.randomness(message.owner)
        self._alice = Alice(end.link, end.pads, device, randomness, end.clock, self._keep)
        self._started = message

    def _end_round(self, reason: str) -> None:
        self._alice.abort(reason)
        if self._alice.report:
            self.end.reports.append(self._alice.report.to_json())
        self._alice = None

    def _keep(self, block: Block) -> None:
        # Her last check is behind her: the block is her KME's as soon as it is durable.
        self.end.spool.keep(block)
        self.end.handover.release(block.block_id)


class BobEnd:
    """Leads rounds."""

    def __init__(self, end: LinkEnd) -> None:
        self.end = end
        self._lock = threading.Lock()

    def order(self, block_id: str, owner: str) -> dict[str, Any]:
        """Runs a round and returns its report. Raises LinkStopped, and Busy when another one does not end in time."""
        self.end.check_runs()
        if not self._lock.acquire(timeout=BUSY_WAIT_S):
            raise Busy(f"link {self.end.link} is running another round")
        try:
            return self._run(StartRound(block_id, self.end.link, owner, self.end.parameters))
        finally:
            self._lock.release()

    def order_from_alice(self, block_id: str, owner: str) -> dict[str, Any]:
        """Alice's QKDE passes its KME's order on. Raises UnexpectedRound for another owner."""
        if owner != self.end.owners[1]:
            raise UnexpectedRound(f"owner: {owner!r} is not the KME at Alice's end of link {self.end.link}")
        return self.order(block_id, owner)

    def _run(self, start: StartRound) -> dict[str, Any]:
        end = self.end
        report = run_bob(
            start,
            ClassicalChannel(end.other_qkde, end.link),
            end.device(start.block_id),
            end.randomness(start.owner),
            end.clock,
            end.pads,
            end.spool.keep,
        ).to_json()
        if report["outcome"] == "key":
            end.handover.release(start.block_id)
        else:
            end.spool.forget(start.block_id)
        end.reports.append(report)
        return report
