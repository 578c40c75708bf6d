"""The two ends of a link as a QKDE hosts them: Alice answers messages, Bob leads rounds."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from mutual_tls.client import Peer
from qkde.bb84.alice import Alice
from qkde.bb84.bob import run_bob
from qkde.bb84.messages import StartRound, decode, encode
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.report import Block
from qkde.classical.channel import ClassicalChannel
from qkde.link.client import LinkClient
from qkde.node.handover import Handover
from qkde.node.spool import Spool

log = logging.getLogger(__name__)

REPORTS_KEPT = 50
BUSY_WAIT_S = 60.0
ROUND_TIMEOUT_S = 180.0


class Busy(Exception):
    """Another round is running on the link and did not end in time."""


class UnexpectedOrder(Exception):
    """A round is not in the name of a KME that may own its block."""


@dataclass(frozen=True)
class LinkEnd:
    """What a QKDE knows of one of its links. `owners`: the KMEs of the two sites, own site first."""

    link: str
    owners: tuple[str, str]
    other_qkde: Peer
    quantum: Peer
    parameters: RoundParameters


class AliceEnd:
    """Answers Bob's messages, one round at a time; an unfinished round ends when the next one starts."""

    def __init__(self, end: LinkEnd, spool: Spool, handover: Handover, **tools: Any) -> None:
        self._end = end
        self.other_qkde = end.other_qkde.identity
        self._spool = spool
        self._handover = handover
        self._tools = tools
        self._alice: Alice | None = None
        self._ordered: deque[str] = deque(maxlen=REPORTS_KEPT)
        self._lock = threading.Lock()

    def order(self, block_id: str, owner: str) -> dict[str, Any]:
        """Own KME wants a block: Bob leads, so he is told. The report of the round; raises PeerError."""
        self._ordered.append(block_id)
        path = f"/v1/links/{self._end.link}/orders"
        order = {"block_id": block_id, "owner": owner}
        return self._end.other_qkde.request("POST", path, json=order, timeout_s=ROUND_TIMEOUT_S).json

    def answer(self, octets: bytes) -> bytes:
        """One message of Bob's, one answer. Raises the protocol's errors; the round is over then."""
        message = decode(octets)
        with self._lock:
            if isinstance(message, StartRound):
                self._start(message)
            if self._alice is None:
                raise UnexpectedOrder("no round has been started")
            return encode(self._alice.handle(message))

    def _start(self, message: StartRound) -> None:
        if self._alice is not None and self._alice.block_id == message.block_id:
            return
        own, other = self._end.owners
        if message.owner not in (own, other) or (message.owner == own and message.block_id not in self._ordered):
            raise UnexpectedOrder(f"{message.owner} did not order block {message.block_id}")
        self._alice = Alice(
            link=self._end.link,
            block_id=message.block_id,
            source=LinkClient(self._end.quantum, message.block_id),
            keep=self._keep,
            parameters=self._end.parameters,
            **self._tools,
        )

    def _keep(self, block: Block) -> None:
        # Alice's last check is behind her: the block is her KME's as soon as it is durable.
        self._spool.keep(block)
        self._handover.release(block.block_id)


class BobEnd:
    """Leads rounds, one at a time."""

    def __init__(self, end: LinkEnd, spool: Spool, handover: Handover, **tools: Any) -> None:
        self._end = end
        self.other_qkde = end.other_qkde.identity
        self._spool = spool
        self._handover = handover
        self._tools = tools
        self._lock = threading.Lock()

    def order(self, block_id: str, owner: str) -> dict[str, Any]:
        """Runs a round and returns its report. Raises Busy when another one does not end in time."""
        if not self._lock.acquire(timeout=BUSY_WAIT_S):
            raise Busy(f"link {self._end.link} is running another round")
        try:
            return self._run(block_id, owner)
        finally:
            self._lock.release()

    def order_from_alice(self, block_id: str, owner: str) -> dict[str, Any]:
        """Alice's QKDE passes its KME's order on. Raises UnexpectedOrder for another owner."""
        if owner != self._end.owners[1]:
            raise UnexpectedOrder(f"owner: {owner!r} is not the KME at Alice's end of link {self._end.link}")
        return self.order(block_id, owner)

    def _run(self, block_id: str, owner: str) -> dict[str, Any]:
        report = run_bob(
            block_id=block_id,
            link=self._end.link,
            owner=owner,
            parameters=self._end.parameters,
            channel=ClassicalChannel(self._end.other_qkde, self._end.link),
            detector=LinkClient(self._end.quantum, block_id),
            keep=self._spool.keep,
            **self._tools,
        )
        if report.outcome == "key":
            self._handover.release(block_id)
        else:
            self._spool.forget(block_id)
        return report.to_json()
