"""How a process writes its log: a line of text or a JSON object each, with the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from mutual_tls import request_id

from .errors_in_logs import WithoutErrorTexts

TEXT = "%(asctime)s %(levelname)s %(site)s%(name)s: %(message)s%(request)s"


class _Text(WithoutErrorTexts):
    """For people. `site`: its nickname, so that lines of several sites can be told apart at a glance."""

    def __init__(self, nickname: str) -> None:
        super().__init__(TEXT, defaults={"site": f"[{nickname}] " if nickname else ""})

    def format(self, record: logging.LogRecord) -> str:
        known_by = request_id.current()
        record.request = f" [{known_by}]" if known_by else ""
        return super().format(record)


class _Json(WithoutErrorTexts):
    """For programs: one object a line, whatever the message has in it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known_by := request_id.current():
            line["request_id"] = known_by
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter(style: str, process: str, nickname: str = "") -> logging.Formatter:
    """`style`: text or json."""
    return _Json(process) if style == "json" else _Text(nickname)
