"""A QKD Entity: its ends of quantum links, the orders it takes from its site's KME, the reports of its rounds."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from qkde.node.ends import REPORTS_KEPT, AliceEnd, BobEnd

log = logging.getLogger(__name__)


class UnknownLink(Exception):
    """This QKDE has no end of that link, or not the end that could do what was asked."""


class QkdEntity:
    """`ends`: this QKDE's end of each of its links, by the link's name."""

    def __init__(self, name: str, ends: Mapping[str, AliceEnd | BobEnd]) -> None:
        self.name = name
        self.reports: deque[dict[str, Any]] = deque(maxlen=REPORTS_KEPT)
        self._ends = ends

    def order(self, link: str, block_id: str, owner: str) -> dict[str, Any]:
        """Makes a block for `owner`: the round's report, when it is over."""
        report = self._end(link).order(block_id, owner)
        self.reports.append(report)
        if report["outcome"] == "key":
            log.info("link %s: block %s of %d secret bits for %s", link, block_id, report["secret_bits"], owner)
        else:
            log.warning("link %s: no key for %s: %s", link, owner, report["abort_reason"])
        return report

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

    def other_qkde(self, link: str) -> Any:
        """The identity of the QKDE at the link's other end."""
        return self._end(link).other_qkde

    def _end(self, link: str) -> AliceEnd | BobEnd:
        try:
            return self._ends[link]
        except KeyError:
            known = ", ".join(sorted(self._ends)) or "none"
            raise UnknownLink(f"{self.name} has no link {link!r}; its links: {known}") from None
