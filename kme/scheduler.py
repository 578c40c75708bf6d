"""The scheduler process of a KME: a thread per link, so that one that hangs does not stop the others, and the audit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from kme.audit import AuditTrail
from kme.errors import KmeError
from kme.link_keeper import LinkKeeper

log = logging.getLogger(__name__)


class Scheduler:
    """`prepare` brings the stores into shape; it is repeated until it succeeds, so the scheduler may start first."""

    def __init__(
        self, keepers: Sequence[LinkKeeper], audit: AuditTrail, prepare: Callable[[], None], interval_s: float = 0.25
    ) -> None:
        self._keepers = keepers
        self._audit = audit
        self._prepare = prepare
        self._interval_s = interval_s

    def step(self) -> None:
        """Everything once, in this thread."""
        for keeper in self._keepers:
            keeper.step()
        while self._audit.drain():
            pass

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; each thread ends its step first."""
        if not self._prepared(stop):
            return
        tasks = [(f"link {keeper.link.name}", keeper.step) for keeper in self._keepers]
        threads = [threading.Thread(target=self._repeat, args=(name, task, stop), name=name) for name, task in tasks]
        for thread in threads:
            thread.start()
        self._repeat("the audit trail", self._drain, stop)
        for thread in threads:
            thread.join()

    def _prepared(self, stop: threading.Event) -> bool:
        said = ""
        while not stop.is_set():
            try:
                self._prepare()
                if said:
                    log.info("the stores answer now")
                return True
            except KmeError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("waiting: %s", said)
            stop.wait(self._interval_s)
        return False

    def _drain(self) -> None:
        self._audit.drain()

    def _repeat(self, name: str, task: Callable[[], object], stop: threading.Event) -> None:
        said = ""
        while not stop.is_set():
            try:
                task()
                said = ""
            except Exception as error:
                # A thread of the scheduler must not die of what it did not foresee. The text of what is not a domain
                # error may quote what was worked on, so only its type is told.
                trouble = str(error) if isinstance(error, KmeError) else type(error).__name__
                if trouble != said:
                    said = trouble
                    log.error("%s: %s", name, trouble)
            stop.wait(self._interval_s)
