"""The scheduler process of a KME: a thread per link, so that one that hangs does not stop the others, and the audit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kme.audit import AT_ONCE, AuditTrail
from kme.errors import KmeError, NotPrepared, Unavailable
from kme.leadership import Leadership
from kme.link_keeper import LinkKeeper
from kme.pace import Pace
from mutual_tls import request_id

log = logging.getLogger(__name__)


class Chore(NamedTuple):
    """Something that is done again and again, beside the links."""

    name: str
    step: Callable[[], object]


class Scheduler:
    """`prepare` brings the stores into shape; it is repeated until it succeeds, so the scheduler may start first.

    `check_stores` raises Unavailable, in words, unless they answer now. `first` comes before all else: as long as it
    fails, nothing else is done, so that nothing is with stores that are another KME's.
    """

    def __init__(
        self,
        keepers: Sequence[LinkKeeper],
        audit: AuditTrail,
        prepare: Callable[[], None],
        check_stores: Callable[[], None],
        pace: Pace,
        *,
        first: Chore | None = None,
        chores: Sequence[Chore] = (),
        leadership: Leadership | None = None,
    ) -> None:
        """Without `leadership` it works unasked, and without `first` at once, as tests of a single one may."""
        self._keepers = keepers
        self._audit = audit
        self._prepare = prepare
        self._check_stores = check_stores
        self._first = first
        self._first_is_done = first is None
        self._pace = pace
        self._chores = tuple(chores)
        self._leadership = leadership
        self._waiting_for = "it has not begun yet"
        self._threads: list[threading.Thread] = []

    def check(self) -> None:
        """Raises Unavailable, in words, unless the stores are prepared and answer, and every task is being done."""
        if self._waiting_for:
            raise Unavailable(f"the scheduler does nothing yet: {self._waiting_for}")
        ended = [thread.name for thread in self._threads if not thread.is_alive()]
        if ended:
            raise Unavailable(f"the scheduler's work has ended on {', '.join(ended)}: restart it")
        self._check_stores()

    def duty(self) -> dict[str, str]:
        """For the health check: one that stands by is as healthy as the one in office."""
        return {"scheduler": "in office" if self.in_office else "standing by"}

    def resign(self) -> None:
        """Ends what `step` began: lets another scheduler of this KME take over."""
        if self._leadership:
            self._leadership.resign()

    def step(self) -> None:
        """Everything once, in this thread; nothing where another scheduler is in office."""
        if not self._hold():
            return
        self._do_first()
        for chore in self._chores:
            chore.step()
        for keeper in self._keepers:
            keeper.step()
        while self._audit.drain():
            pass

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; each thread ends its step first."""
        if not self._prepared(stop):
            return
        tasks: list[tuple[str, Callable[[], object]]] = [("the audit trail", self._drain)]
        tasks += self._chores
        tasks += [(f"link {keeper.link.name}", keeper.step) for keeper in self._keepers]
        if self._first:
            self._start(self._first.name, self._repeat, self._first.name, self._only_in_office(self._do_first), stop)
        for name, task in tasks:
            self._start(name, self._repeat, name, self._only_in_office(self._only_after_first(task)), stop)
        if self._leadership:
            self._start("leadership", self._repeat, "leadership", self._hold, stop)
        self._waiting_for = ""
        for thread in self._threads:
            thread.join()
        self.resign()

    def _drain(self) -> None:
        """Until less was there than is drained at once: with a rest after each, the trail would fall behind where keys
        go fast."""
        while self._audit.drain() >= AT_ONCE:
            pass

    def _start(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name)
        thread.start()
        self._threads.append(thread)

    def _hold(self) -> bool:
        if self._leadership is None:
            return True
        was_in_office = self.in_office
        try:
            holds = self._leadership.hold()
        except NotPrepared:  # a database that was lost while this runs is made anew
            self._prepare()
            holds = self._leadership.hold()
        if holds and not was_in_office:
            self._pace.hurry()
        return holds

    @property
    def in_office(self) -> bool:
        """Whether it is the one that works, of those of its KME."""
        return self._leadership is None or self._leadership.term is not None

    def _only_in_office(self, task: Callable[[], object]) -> Callable[[], object]:
        return lambda: task() if self.in_office else None

    def _do_first(self) -> None:
        if self._first is None:
            return
        try:
            self._first.step()
        except Exception:
            self._first_is_done = False
            raise
        if not self._first_is_done:
            self._first_is_done = True
            self._pace.hurry()

    def _only_after_first(self, task: Callable[[], object]) -> Callable[[], object]:
        return lambda: task() if self._first_is_done else None

    def _prepared(self, stop: threading.Event) -> bool:
        said = ""
        while not stop.is_set():
            try:
                self._prepare()
                if said:
                    log.info("the stores are prepared now")
                return True
            except Exception as error:
                self._waiting_for = _in_words(error)
                if self._waiting_for != said:
                    said = self._waiting_for
                    log.warning("waiting: %s", said)
            stop.wait(self._pace.interval_s)
        return False

    def _repeat(self, name: str, task: Callable[[], object], stop: threading.Event) -> None:
        said = ""
        while not stop.is_set():
            seen = self._pace.news
            with request_id.begun():
                try:
                    task()
                    said = ""
                except Exception as error:
                    # A thread of the scheduler must not die of what it did not foresee.
                    trouble = _in_words(error)
                    if trouble != said:
                        said = trouble
                        log.error("%s: %s", name, trouble)
            self._pace.rest(seen)


def _in_words(error: Exception) -> str:
    """The text of what is not a domain error may quote what was worked on, so only its type is told."""
    return error.message if isinstance(error, KmeError) else type(error).__name__
