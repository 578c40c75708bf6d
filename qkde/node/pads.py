"""A link's pad pool at one QKDE: one encrypted file, the only truth about which pads are left.

The file is read and replaced, whole, at each step, and nothing is remembered between two steps: a pad that was handed
out is gone from the disk before it is used, whatever becomes of the process. It begins with the link's pre-shared key.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qkde.bb84.errors import RoundFailed
from qkde.bb84.pads import PadOffer, PadState
from qkde.node.sealed import SealedFileError, SealedFiles

log = logging.getLogger(__name__)


class FilePads:
    """The port `PadPool`. `key`: the QKDE's spool key; `pre_shared_key`: what a pool that is new begins with."""

    def __init__(self, folder: Path, key: bytes, link: str, pre_shared_key: bytes) -> None:
        self._files = SealedFiles(folder, key)
        self._link, self._name = link, f"{link}.pads"
        self._beginning = PadState.of_key(pre_shared_key)

    def state(self) -> PadState:
        """Raises RoundFailed when the file can't be read."""
        try:
            described, pads = self._files.read(self._name)
        except FileNotFoundError:
            return self._beginning
        except SealedFileError as error:
            raise RoundFailed(f"{error}; `qkd-lab link rekey {self._link}` starts the pad pool anew") from None
        if described.pop("link") != self._link:
            raise RoundFailed(f"{self._files.folder / self._name} is the pad pool of another link")
        return PadState(**described, pads=pads)

    def reserve(self, agreed: PadOffer, epsilon: float) -> bytes:
        with self._alone():
            left, pad = self.state().without(agreed, epsilon)
            self._write(left)
        log.info("link %s: pad %d of pre-shared key %s is used", self._link, agreed.first, agreed.key_id)
        return pad

    def refill(self, agreed: PadOffer, pads: bytes) -> None:
        with self._alone():
            self._write(self.state().refilled(agreed, pads))

    def rekey(self, pre_shared_key: bytes) -> PadOffer:
        """Starts anew from another pre-shared key, both ends' way out of an empty pool; the same key again changes
        nothing. The pads that were left are destroyed. Raises ValueError for what is not a pre-shared key.
        """
        with self._alone():
            try:
                state = self.state()
            except RoundFailed:
                state = None
            anew = PadState.of_key(pre_shared_key, state.epsilon if state else 0.0)
            if state is None or state.key_id != anew.key_id:
                self._write(anew)
                return anew.offer
        return state.offer

    def _write(self, state: PadState) -> None:
        described = {"link": self._link, "key_id": state.key_id, "first": state.first, "epsilon": state.epsilon}
        self._files.write(self._name, described, state.pads)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Against other threads, and a process that is about to end while its successor starts."""
        with open(self._files.folder / f".{self._name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
