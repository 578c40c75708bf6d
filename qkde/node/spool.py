"""The blocks a QKDE has made and its KME has not acknowledged yet: encrypted files that survive a crash.

A block is *kept* before this end's last message of the round, since from then on the other end may hold it; it is
*released* for its KME once the round has ended well here, and *forgotten* when the KME has it or the round failed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from qkde.bb84.report import Block
from qkde.node.sealed import SealedFileError, SealedFiles

KEPT = ".kept"
RELEASED = ".block"
DAMAGED = ".damaged"

log = logging.getLogger(__name__)


class Spool:
    """`key`: 32 bytes, see `SealedFiles`."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._files = SealedFiles(folder, key)

    def discard_unfinished(self) -> None:
        """At start: the rounds of kept blocks ended with the last process, so nobody will say they ended well."""
        for path in self._files.folder.glob(f"*{KEPT}*"):  # also what was being written
            path.unlink()

    def keep(self, block: Block) -> None:
        """Durable when it returns."""
        described = {
            "block_id": block.block_id, "link": block.link, "owner": block.owner, "length_bits": block.length_bits
        }  # fmt: skip
        self._files.write(self._path(block.block_id, KEPT).name, described, block.bits)

    def release(self, block_id: str) -> None:
        self._path(block_id, KEPT).rename(self._path(block_id, RELEASED))
        self._files.sync()

    def forget(self, block_id: str) -> None:
        for state in (KEPT, RELEASED):
            self._path(block_id, state).unlink(missing_ok=True)
        self._files.sync()

    def released(self) -> list[Block]:
        """The blocks to offer, oldest first. A file that can't be read is put aside, so that it is in nobody's way."""
        blocks = []
        for path in sorted(self._files.folder.glob(f"*{RELEASED}"), key=lambda path: path.stat().st_mtime_ns):
            try:
                blocks.append(self._read(path))
            except SealedFileError as error:
                log.error("%s; it is put aside", error)
                path.rename(path.with_suffix(DAMAGED))
        return blocks

    def _read(self, path: Path) -> Block:
        described, bits = self._files.read(path.name)
        return Block(**described, bits=bits)

    def _path(self, block_id: str, state: str) -> Path:
        return self._files.folder / f"{block_id}{state}"
