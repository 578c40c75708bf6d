"""Changing the key-encryption key while everything goes on.

1. A new KEK is made durable in the folder. 2. One step in the key store makes it the current one, and the former a
retired one: from then on nothing else is taken in. 3. The scheduler wraps anew what is under a retired KEK, until one
pass through the store finds nothing. 4. The retired KEK is destroyed. A crash before 2 leaves a file that nobody uses;
after it, the next scheduler goes on: what a retired KEK is, the store remembers, and its file stays until 4.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kme.errors import Conflict, Unavailable
from kme.keyring import KeyRing
from kme.keystore import KeyStore
from kme.rewrapping import Rewrapping

log = logging.getLogger(__name__)

_KEYS = ["kek", "retired_keks", "rewrapped", "audit"]
# What was taken from the store right before it was wrapped anew is unwrapped by then.
_UNWRAPPED_WITHIN_S = 15.0


@dataclass(frozen=True)
class KekStatus:
    """Fingerprints. `rewrapped_count`: values wrapped anew in this rotation, or the last."""

    current: bytes
    retired: list[bytes]
    rewrapped_count: int


class KekRotation:
    def __init__(
        self,
        keystore: KeyStore,
        keyring: KeyRing,
        clock: Callable[[], float] = time.monotonic,
        unwrapped_within_s: float = _UNWRAPPED_WITHIN_S,
    ) -> None:
        self._keystore = keystore
        self._keyring = keyring
        self._clock = clock
        self._unwrapped_within_s = unwrapped_within_s
        self._about: list[bytes] = []  # the retired KEKs that the following is about
        self._pass: Iterator[int] | None = None
        self._found_count = 0
        self._clean_at: float | None = None

    def begin(self) -> bytes:
        """The new KEK's fingerprint. Raises Conflict where this KME can't change its KEK, or is still about it."""
        folder = self._keyring.folder
        if folder is None:
            raise Conflict("this KME was given one key-encryption key, and no folder to keep others in")
        with folder.locked():
            self._keystore.claim(self._keyring)
            if self.status().retired:
                raise Conflict("the last rotation is not done yet: what is stored is still being wrapped anew")
            former, new = self._keyring.fingerprint, self._keyring.add()
            outcome = self._keystore.run("rotate_kek", _KEYS, [former, new])
        if outcome != b"done":
            raise Unavailable("the key-encryption key was changed by another process meanwhile")
        self._keyring.use(new)
        log.info("the key-encryption key is %s now, %s is being replaced", new.hex(), former.hex())
        return new

    def status(self) -> KekStatus:
        with self._keystore.answering() as store:
            retired, count = store.smembers("retired_keks"), store.get("rewrapped")
        return KekStatus(self._keyring.fingerprint, sorted(retired), int(count or 0))

    def step(self) -> int:
        """A bounded part of what is to be done; how many values it found under a retired KEK. For the scheduler."""
        retired = self.status().retired
        if retired != self._about:  # a pass, or its outcome, from before another rotation says nothing about this one
            self._about, self._pass, self._clean_at = retired, None, None
        if not retired:
            return 0
        self._keystore.claim(self._keyring)
        for one in retired:
            if self._clean_at is None and not self._keyring.has(one) and not self._keyring.was_destroyed(one):
                raise Unavailable(f"key-encryption key {one.hex()} is gone while values are wrapped under it")
        if self._clean_at is not None:
            if self._clock() - self._clean_at >= self._unwrapped_within_s:
                self._destroy(retired)
            return 0
        return self._go_on()

    def _go_on(self) -> int:
        if self._pass is None:
            self._pass, self._found_count = Rewrapping(self._keystore, self._keyring).one_pass(), 0
        try:
            found_count = next(self._pass, None)
        except Exception:
            self._pass = None  # a generator that has raised is at its end, which must not be taken for a clean pass
            raise
        if found_count is not None:
            self._found_count += found_count
            return found_count
        self._pass = None
        if not self._found_count:
            self._clean_at = self._clock()
        return 0

    def _destroy(self, retired: list[bytes]) -> None:
        folder = self._keyring.folder
        assert folder is not None
        with folder.locked():
            for one in retired:
                self._keyring.drop(one)
            # Files first: a crash in between repeats this, and no KEK is said to be destroyed that is not.
            self._keystore.run("rotate_kek", _KEYS, [self._keyring.fingerprint, "", *retired])
        log.info("key-encryption key %s is destroyed: nothing is wrapped under it", ", ".join(map(bytes.hex, retired)))
