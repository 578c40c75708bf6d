"""Ordering secret bits at the site's QKDE: one round at a time per link, each with its report."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID, uuid4

from psycopg2.extras import Json

from kme.database import Database
from kme.errors import KmeError
from kme.model import KmeSettings, Link
from kme.planning import BackOff
from mutual_tls import request_id
from mutual_tls.client import Peer, PeerError

log = logging.getLogger(__name__)
KEPT_REPORTS = 1_000
_ASK_TIMEOUT_S = 10.0  # a QKDE answers within 5 s, if only that the round still runs


class RoundReports:
    """The last reports of each link, in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, block_id: UUID, link: str, report: dict[str, Any]) -> None:
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO round_report (block_id, link, outcome, report) VALUES (%s, %s, %s, %s)"
                " RETURNING report_id",
                (block_id, link, str(report.get("outcome")), Json(report)),
            )
            newest = sql.fetchone()["report_id"]
            sql.execute("DELETE FROM round_report WHERE report_id <= %s", (newest - KEPT_REPORTS,))

    def of_block(self, block_id: UUID) -> list[dict[str, Any]]:
        """What this KME has kept of the round with the block's id, if it ordered it."""
        with self._database.transaction() as sql:
            sql.execute("SELECT report FROM round_report WHERE block_id = %s ORDER BY report_id", (block_id,))
            return [row["report"] for row in sql.fetchall()]

    def totals(self) -> tuple[int, float]:
        """How many rounds were ever reported, and which part of those that are kept gave no key; 0 where none was."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT coalesce(max(report_id), 0) AS ever, count(*) AS kept,"
                " count(*) FILTER (WHERE outcome <> 'key') AS aborted FROM round_report"
            )
            row = sql.fetchone()
            return row["ever"], row["aborted"] / row["kept"] if row["kept"] else 0.0

    def last(self, link: str, count: int = 1) -> list[dict[str, Any]]:
        """The newest first."""
        with self._database.transaction() as sql:
            sql.execute(
                "SELECT report FROM round_report WHERE link = %s ORDER BY report_id DESC LIMIT %s", (link, count)
            )
            return [row["report"] for row in sql.fetchall()]


def in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="round", daemon=True).start()


class Orders(Protocol):
    """Where a link's bits come from, as far as they can be ordered."""

    def order(self) -> bool: ...


class Rounds:
    """Orders for one link. A round takes seconds and may hang, so it runs apart (`start`), and never two at once."""

    def __init__(
        self,
        settings: KmeSettings,
        link: Link,
        qkde: Peer,
        reports: RoundReports,
        clock: Callable[[], float],
        start: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._settings = settings
        self._link = link
        self._qkde = qkde
        self._reports = reports
        self._clock = clock
        self._start = start
        self._back_off = BackOff()
        self._running = threading.Lock()

    def order(self) -> bool:
        """Starts a round, unless one is running or the last failed a moment ago; whether it did."""
        if not self._back_off.over(self._clock()) or not self._running.acquire(blocking=False):
            return False
        try:
            self._start(self._run)
        except BaseException:
            self._running.release()
            raise
        return True

    def _run(self) -> None:
        block_id = uuid4()
        try:
            with request_id.begun(str(block_id)):  # what is said of a round anywhere is found by its block's id
                succeeded = self._one_round(block_id)
        except Exception as error:
            log.error("link %s: a round ended in %s", self._link.name, type(error).__name__)
            succeeded = False
        if succeeded:
            self._back_off.succeeded()
        else:
            self._back_off.failed(self._clock())
        self._running.release()

    def _ordered(self, order: dict[str, Any]) -> Any:
        """Asks again while the round runs: on one connection it would not show for long that this one is dead."""
        until_s = self._clock() + self._settings.order_timeout_s
        while (reply := self._qkde.request("POST", "/v1/orders", json=order, timeout_s=_ASK_TIMEOUT_S)).status == 202:
            if self._clock() > until_s:
                raise PeerError(f"the QKDE's round takes longer than {self._settings.order_timeout_s:.0f} s")
        return reply.json

    def _one_round(self, block_id: UUID) -> bool:
        name = self._link.name
        try:
            order = {"link": name, "block_id": str(block_id)}
            report = self._ordered(order)
        except PeerError as error:
            log.warning("link %s: no round: %s", name, error)
            return False
        if not isinstance(report, dict):
            log.warning("link %s: the QKDE's report is not understood", name)
            return False
        made_key = report.get("outcome") == "key"
        if made_key:
            log.info("link %s: a block of %s secret bits, QBER %s", name, report.get("secret_bits"), report.get("qber"))
        else:
            log.warning("link %s: a round gave no key: %s", name, report.get("abort_reason"))
        try:
            self._reports.add(block_id, name, report)
        except KmeError as error:
            log.warning("link %s: a report is lost: %s", name, error)
        return made_key
