"""A Redis that is worked on by Lua scripts (db/lua), each of them one step, and by single commands."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kme.errors import Unavailable

# A server that has answered a moment ago has not ended and started anew since.
_LOOKED_AT_AFTER_S = 0.05

# Put before the scripts that call one of their functions.
_PRELUDES = {
    "clock": r"\bsite_clocks\(",
    "records": r"\b(time_text|id_in|moment_in|end_in|bond_of_record|bits_of_record|bits_of_copy|leave_batches)\(",
    "witness": r"\b(count_act|this_run|is_checked|bond_state|bond_of|bond_in|mark_in)\(",
}


def _own_kind(kind: type[redis.Connection]) -> type[redis.Connection]:
    """A connection that one thread keeps. It is timed by the kernel: with Python's own timeouts, each call of a socket
    first asks whether it would wait. The question lets another thread have the interpreter, as the call does, and that
    is waited for. For the same reason it is not looked at each time whether the server has closed it. `run`: the
    server's, another one after each start; empty where that was not asked yet."""

    class OwnConnection(kind):
        run = b""
        answered_at_s = -_LOOKED_AT_AFTER_S  # when the last answer had come, if nothing went wrong since

        def _connect(self) -> socket.socket:
            sock = super()._connect()
            seconds, fraction = divmod(self.socket_timeout, 1)
            timeout = struct.pack("@ll", int(seconds), int(fraction * 1_000_000))  # struct timeval
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, timeout)
            sock.settimeout(None)
            return sock

        def disconnect(self, *args: Any, **kwargs: Any) -> None:
            self.run = b""
            super().disconnect(*args, **kwargs)

    return OwnConnection


class ScriptedRedis:
    """Every method raises Unavailable where Redis does not answer; what it was asked may have taken place then."""

    def __init__(
        self, url: str, scripts: Path, clock: Callable[[], float] | None = None, timeout_s: float = 5.0
    ) -> None:
        """`clock`: seconds, in place of Redis' own time, which all processes of a site share. For tests."""
        self._clock = clock
        # No retry inside the client: a repeated take would lose the keys of the first, silently.
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=False,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        texts = {path.stem: path.read_text("utf-8") for path in scripts.glob("*.lua")}
        preludes = {word: texts.pop(name) for name, word in _PRELUDES.items()}
        self._scripts = {}
        self._told_run = set()
        for name, text in texts.items():
            needed = [prelude for word, prelude in preludes.items() if re.search(word, text)]
            self._scripts[name] = self._redis.register_script("".join([*needed, text]))
            if re.search(_PRELUDES["witness"], text):
                self._told_run.add(name)
        self._own_kind = _own_kind(self._redis.connection_pool.connection_class)
        self._own = threading.local()
        self._all_own: WeakSet[redis.Connection] = WeakSet()  # every thread's, to be closed

    def run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        """One of the scripts."""
        with self.answering():
            connection, sha = self._own_connection(), self._scripts[script].sha
            if script in self._told_run:
                args = [*args, connection.run]
            try:
                return _asked(connection, "EVALSHA", sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:  # the server has started anew
                _asked(connection, "SCRIPT LOAD", self._scripts[script].script)
                return _asked(connection, "EVALSHA", sha, len(keys), *keys, *args)

    def _own_connection(self) -> redis.Connection:
        """This thread's, which it keeps: to get one from the pool and give it back would cost as much as the call."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            pool = self._redis.connection_pool
            connection = self._own.connection = self._own_kind(**pool.connection_kwargs)
            self._all_own.add(connection)
        connection.connect()  # where it is not
        if time.monotonic() > connection.answered_at_s + _LOOKED_AT_AFTER_S:
            self._look_at(connection)
        if not connection.run:
            connection.run = _run_in(_asked(connection, "INFO", "server"))
        return connection

    @staticmethod
    def _look_at(connection: redis.Connection) -> None:
        """Makes it anew where the server has closed it, or where the rest of an answer lies there that was given up."""
        try:
            has_ended = connection.can_read()
        except redis.ConnectionError:
            has_ended = True
        if has_ended:
            connection.disconnect()
            connection.connect()

    def connect(self) -> None:
        """Makes this thread's connection before it is needed. A store that does not answer is met by who needs it."""
        with suppress(Unavailable), self.answering():
            self._own_connection()

    @contextmanager
    def answering(self) -> Iterator[redis.Redis]:
        """The store itself, for single commands."""
        try:
            yield self._redis
        except redis.ResponseError as error:
            # A script's error could quote its arguments; its first word (OOM, MISCONF, ...) says what is wrong.
            raise Unavailable(f"Redis refuses to work: {(str(error).split() or ['?'])[0]}") from None
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {type(error).__name__}") from None

    def now(self) -> int | str:
        """A test's time in milliseconds, or empty: Redis' own."""
        return "" if self._clock is None else int(self._clock() * 1000)

    def clocks_ms(self) -> tuple[int, int]:
        """The site's clock that never runs slow, and the one that never runs fast (docs/protocols.md, "Durations")."""
        fast, slow = self.run("read_clock", [], [self.now()])
        return int(fast), int(slow)

    def close(self) -> None:
        for connection in list(self._all_own):
            connection.disconnect()
        self._redis.close()


def _asked(connection: redis.Connection, *command: Any) -> Any:
    connection.answered_at_s = -_LOOKED_AT_AFTER_S
    try:
        connection.send_command(*command)
        answer = connection.read_response()
    except redis.ResponseError:
        raise  # that was the answer
    except BaseException:
        connection.disconnect()  # the answer could come yet, and be taken for that to the next command
        raise
    connection.answered_at_s = time.monotonic()
    return answer


def _run_in(answer: Any) -> bytes:
    found = re.search(rb"run_id:([0-9a-f]+)", answer) if isinstance(answer, bytes) else None
    if found is None:
        raise redis.ConnectionError("the server does not tell its run")
    return found[1]
