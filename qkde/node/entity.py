"""A QKD Entity: its ends of quantum links, and the orders it takes from its site's KME."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from mutual_tls.identity import Identity
from qkde.bb84.pads import PadOffer
from qkde.node.ends import AliceEnd, BobEnd
from qkde.node.handover import Handover
from qkde.node.orders import Orders

log = logging.getLogger(__name__)

EXPIRY_CHECK_S = 5.0


class UnknownLink(Exception):
    """This QKDE has no end of that link, or not the end that could do what was asked."""


class QkdEntity:
    """`ends`: this QKDE's end of each link, by the link's name; `reports`: what rounds told here, oldest first."""

    def __init__(
        self, name: str, ends: Mapping[str, AliceEnd | BobEnd], handover: Handover, reports: deque[dict[str, Any]]
    ) -> None:
        self.name = name
        self.reports = reports
        self._ends = ends
        self._handover = handover
        self._orders, self._orders_from_alice = Orders(), Orders()

    def order(self, link: str, block_id: str, owner: str) -> dict[str, Any] | None:
        """Makes a block for `owner`: the round's report, None while it runs (ask again). Raises UnknownLink, Busy,
        PeerError."""
        end = self._end(link)
        return self._orders.follow(block_id, lambda: self._made(link, end, block_id, owner))

    def order_from_alice(self, link: str, block_id: str, owner: str) -> dict[str, Any] | None:
        """The same for the QKDE at the other end. Raises UnexpectedRound, too."""
        bob = self.bob(link)
        return self._orders_from_alice.follow(block_id, lambda: bob.order_from_alice(block_id, owner))

    def alice(self, link: str) -> AliceEnd:
        end = self._end(link)
        if not isinstance(end, AliceEnd):
            raise UnknownLink(f"{self.name} is not Alice on link {link}")
        return end

    def bob(self, link: str) -> BobEnd:
        end = self._end(link)
        if not isinstance(end, BobEnd):
            raise UnknownLink(f"{self.name} is not Bob on link {link}")
        return end

    def other_qkde(self, link: str) -> Identity:
        """The QKDE at the link's other end."""
        return self._end(link).end.other_qkde.identity

    def rekey(self, link: str, pre_shared_key: bytes) -> PadOffer:
        """A new pre-shared key for a link: the pads this end has now. Raises UnknownLink, ValueError."""
        offer = self._end(link).end.pads.rekey(pre_shared_key)
        log.warning("link %s: pads %d to %d of pre-shared key %s", link, offer.first, offer.end, offer.key_id)
        return offer

    def run(self, stopping: threading.Event) -> None:
        """Hands blocks over and ends silent rounds, until `stopping`."""
        handover = threading.Thread(target=self._handover.run, args=(stopping,), name="handover", daemon=True)
        handover.start()
        while not stopping.wait(EXPIRY_CHECK_S) and handover.is_alive():
            for end in self._ends.values():
                if isinstance(end, AliceEnd):
                    end.expire()

    def _made(self, link: str, end: AliceEnd | BobEnd, block_id: str, owner: str) -> dict[str, Any]:
        report = end.order(block_id, owner)
        if report["outcome"] == "key":
            log.info("link %s: block %s of %d bits for %s", link, block_id, report["block_bits"], owner)
        else:
            log.warning("link %s: no key for %s: %s", link, owner, report["abort_reason"])
        return report

    def _end(self, link: str) -> AliceEnd | BobEnd:
        try:
            return self._ends[link]
        except KeyError:
            known = ", ".join(sorted(self._ends)) or "none"
            raise UnknownLink(f"{self.name} has no link {link!r}; its links: {known}") from None
