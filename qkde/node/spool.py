"""The blocks a QKDE has made and its KME has not acknowledged yet: encrypted files that survive a crash.

A block is *kept* before this end's last message of the round, since from then on the other end may hold it; it is
*released* for its KME once the round has ended well here, and *forgotten* when the KME has it or the round failed.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkde.bb84.report import Block

NONCE_BYTES = 12
KEPT = ".kept"
RELEASED = ".block"
DAMAGED = ".damaged"

log = logging.getLogger(__name__)


class SpoolError(Exception):
    """A file in the spool can't be read."""


class Spool:
    """`key`: 32 bytes; files are AES-256-GCM under it, bound to the block's description."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._cipher = AESGCM(key)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def discard_unfinished(self) -> None:
        """At start: the rounds of kept blocks ended with the last process, so nobody will say they ended well."""
        for path in self._folder.glob(f"*{KEPT}"):
            path.unlink()

    def keep(self, block: Block) -> None:
        """Durable when it returns."""
        described = json.dumps(
            {"block_id": block.block_id, "link": block.link, "owner": block.owner, "length_bits": block.length_bits}
        ).encode()
        nonce = os.urandom(NONCE_BYTES)
        path = self._path(block.block_id, KEPT)
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(described + b"\n" + nonce + self._cipher.encrypt(nonce, block.bits, described))
            file.flush()
            os.fsync(file.fileno())
        self._sync_folder()

    def release(self, block_id: str) -> None:
        self._path(block_id, KEPT).rename(self._path(block_id, RELEASED))
        self._sync_folder()

    def forget(self, block_id: str) -> None:
        for state in (KEPT, RELEASED):
            self._path(block_id, state).unlink(missing_ok=True)
        self._sync_folder()

    def released(self) -> list[Block]:
        """The blocks to offer, oldest first. A file that can't be read is put aside, so that it is in nobody's way."""
        blocks = []
        for path in sorted(self._folder.glob(f"*{RELEASED}"), key=lambda path: path.stat().st_mtime_ns):
            try:
                blocks.append(self._read(path))
            except SpoolError as error:
                log.error("%s; it is put aside", error)
                path.rename(path.with_suffix(DAMAGED))
        return blocks

    def _read(self, path: Path) -> Block:
        described, _, sealed = path.read_bytes().partition(b"\n")
        try:
            bits = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], described)
        except (InvalidTag, ValueError):
            raise SpoolError(f"{path} can't be decrypted: it is damaged, or the spool key has changed") from None
        return Block(**json.loads(described), bits=bits)

    def _path(self, block_id: str, state: str) -> Path:
        return self._folder / f"{block_id}{state}"

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
