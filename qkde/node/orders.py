"""Orders of blocks that are being followed: who asks again hears of the same round, and nobody waits for long.

A round takes seconds, or minutes where it waits for another one. Whoever waited for it on one connection would not
notice for as long that the connection is dead.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from mutual_tls.client import Peer

ANSWER_WITHIN_S = 5.0
# What an answer may take on its way and in a queue, beyond that.
ASK_TIMEOUT_S = 10.0
REMEMBERED = 64

Report = dict[str, Any]


class Orders:
    """By block id. Safe to share between threads."""

    def __init__(self) -> None:
        self._rounds: OrderedDict[str, Future[Report]] = OrderedDict()
        self._lock = threading.Lock()

    def follow(self, block_id: str, round_: Callable[[], Report]) -> Report | None:
        """What `round_` gives or raises, at once or when asked again; None while it runs."""
        with self._lock:
            if (found := self._rounds.get(block_id)) is None:
                found = self._rounds[block_id] = Future()
                # The round belongs to the request that ordered it.
                context = copy_context()
                threading.Thread(target=context.run, args=(_fulfil, found, round_), name="round", daemon=True).start()
                if len(self._rounds) > REMEMBERED:
                    self._rounds.popitem(last=False)
        try:
            return found.result(ANSWER_WITHIN_S)
        except TimeoutError:
            return None


def ask(qkde: Peer, path: str, order: dict[str, Any], until: Callable[[], bool]) -> Report | None:
    """The report of a round ordered at another QKDE; None where `until` says that it has taken too long."""
    while not until():
        reply = qkde.request("POST", path, json=order, timeout_s=ASK_TIMEOUT_S)
        if reply.status == 200:
            return reply.json
    return None


def _fulfil(promise: Future[Report], round_: Callable[[], Report]) -> None:
    try:
        promise.set_result(round_())
    except BaseException as error:
        promise.set_exception(error)
