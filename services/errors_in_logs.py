"""What a log tells of an error: its type and place alone, since its text may quote what was worked on."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType

log = logging.getLogger(__name__)


class WithoutErrorTexts(logging.Formatter):
    """For tracebacks of whatever logger, with those of the errors that led to them."""

    def formatException(self, ei: tuple[type[BaseException] | None, BaseException | None, TracebackType | None]) -> str:
        error, told, seen = ei[1], [], set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            places = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=False)
            told.append("".join(places.format()) + f"{type(error).__name__} (its text is not shown)")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nwhile handling this:\n".join(told)


def log_uncaught() -> None:
    """Of errors that end the process or a thread, in the log's form: Python itself would write the text."""
    sys.excepthook = lambda *error: log.critical("the process ends", exc_info=error)
    threading.excepthook = lambda ended: log.error(
        "thread %s ends",
        ended.thread and ended.thread.name,
        exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
    )
