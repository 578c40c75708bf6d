"""What the poller publishes, to every browser that listens: one text for all, and a bounded memory of it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

KEPT_MESSAGES = 30
HEARTBEAT_S = 15.0


class Hub:
    """Server-sent events. A browser that comes, comes back or was too slow gets a `hello` with all there is to know,
    then each `tick`: nobody has to ask for what was missed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._hello: dict[str, Any] = {}
        self._ticks: deque[tuple[int, bytes]] = deque(maxlen=KEPT_MESSAGES)
        self._number = 0
        self._closed = False

    def publish(self, tick: dict[str, Any], hello: dict[str, Any]) -> None:
        """`hello` must hold what `tick` has; it is turned to text when somebody wants it."""
        text = _message("tick", tick)
        with self._changed:
            self._number += 1
            self._ticks.append((self._number, text))
            self._hello = hello
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def listen(self) -> Iterator[bytes]:
        """Messages until the hub is closed."""
        seen = -1
        yield b"retry: 1000\n\n"
        while True:
            with self._changed:
                if not (self._closed or self._number > max(seen, 0)):
                    self._changed.wait(HEARTBEAT_S)
                if not (self._closed or self._number > max(seen, 0)):
                    missed: list[bytes] = [b": still here\n\n"]  # so that a browser that has gone is noticed
                elif self._closed:
                    return
                elif seen < 0 or not self._ticks or self._ticks[0][0] > seen + 1:
                    missed = [_message("hello", self._hello)]
                    seen = self._number
                else:
                    missed = [text for number, text in self._ticks if number > seen]
                    seen = self._number
            yield b"".join(missed)


def _message(kind: str, content: dict[str, Any]) -> bytes:
    # JSON has no line breaks of its own, so one `data:` line is enough.
    return f"event: {kind}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
