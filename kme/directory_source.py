"""Key from a folder instead of a QKDE: files `*.cor`, equal at both sites, cut into blocks by name and offset.

Both KMEs name the blocks of a file alike and agree on whose they are without a word. Each hands its own copy to its
intake, as a QKDE would; the confirmation of every block covers the whole file, so that files that differ anywhere give
no key (docs/other-doors.md).
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO
from uuid import UUID, uuid5

from kme.confirmation import Confirmation, binding
from kme.errors import BadRequest, Conflict, KmeError
from kme.intake import Intake
from kme.key_files import KeyFile, KeyFiles
from kme.keyring import KeyRing
from kme.model import Block, KmeSettings, Link
from kme.planning import BackOff
from mutual_tls.client import Peer, Refused

log = logging.getLogger(__name__)

SUFFIX = ".cor"
POLL_S = 1.0
# Both ends must agree on these. A block has to hold its confirmation key (32 bytes) and something to use.
MOST_BLOCK_BYTES = 1 << 17
LEAST_BLOCK_BYTES = 64
_BLOCKS = UUID("0b4ae0e6-5a3e-5d0a-8f57-9d2f2f1f6c3b")

Signature = tuple[int, int, int]  # inode, size, time of the last change


class DirectorySource:
    """Reads the complete files of one link's folder, each once, ever. One that can't be used is named in the log, once,
    and stops no other."""

    def __init__(
        self,
        settings: KmeSettings,
        link: Link,
        files: KeyFiles,
        intake: Intake,
        keyring: KeyRing,
        clock: Callable[[], float],
    ) -> None:
        assert link.folder is not None
        self.link = link
        self._folder = link.folder
        self._ends = sorted((settings.kme_id, link.peer_kme_id))
        self._files = files
        self._intake = intake
        self._keyring = keyring
        self._clock = clock
        self._next_poll_s = float("-inf")
        self._seen: dict[str, Signature] = {}
        self._dealt_with: dict[str, Signature] = {}
        self._said: dict[str, str] = {}

    def step(self) -> None:
        """Looks into the folder, at most once a second. Raises Unavailable where a store does not answer."""
        if self._clock() < self._next_poll_s:
            return
        self._next_poll_s = self._clock() + POLL_S
        try:
            found = self._signatures()
            self._said.pop("", None)
        except OSError as error:
            self._say("", f"the folder {self._folder.path} can't be read: {error.strerror}")
            return
        complete = [name for name, signature in found.items() if self._seen.get(name) == signature]
        self._seen = found
        self._dealt_with = {name: one for name, one in self._dealt_with.items() if found.get(name) == one}
        for name in sorted(complete):
            if name not in self._dealt_with:
                self._deal_with(name, found[name])

    def _signatures(self) -> dict[str, Signature]:
        """Of every key file. A name that is not UTF-8 could not be told to anybody, so it is none."""
        found = {}
        with os.scandir(self._folder.path) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and entry.name.isprintable():
                    try:
                        found[entry.name] = _signature(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue
        return found

    def _deal_with(self, name: str, signature: Signature) -> None:
        try:
            with self._opened(name) as file:
                if _signature(os.fstat(file.fileno())) != signature:
                    return  # it changed since: the next look decides
                self._read(name, file)
            if self._folder.delete_after_reading:
                self._delete(name, signature)
        except OSError as error:
            self._say(name, f"it can't be read or deleted: {error.strerror}")
            return  # tried again: permissions may change without a trace in size or time
        except (BadRequest, Conflict) as error:
            self._say(name, error.message)
        self._dealt_with[name] = signature

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        # Whoever may write into the folder must not make the KME read another file, or wait for a pipe.
        descriptor = os.open(self._folder.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BadRequest("it is no regular file")
        with open(descriptor, "rb") as file:
            yield file

    def _read(self, name: str, file: BinaryIO) -> None:
        length_bytes = os.fstat(file.fileno()).st_size
        if length_bytes < LEAST_BLOCK_BYTES:
            raise BadRequest(f"it has {length_bytes} bytes: expected at least {LEAST_BLOCK_BYTES}")
        contents = hashlib.file_digest(file, "sha256").digest()
        offered = KeyFile(self.link.name, name, self._keyring.digest(contents, b"key file"), length_bytes)
        known = self._files.begin(offered)
        if (known.link, known.name) != (self.link.name, name):
            raise Conflict(f"its contents were read before, as {known.name} of link {known.link}: it is not read")
        if known.digest != offered.digest:
            raise Conflict("a file of this name was read before, with other contents: it is not read")
        if known.is_read:
            return
        for offset, size in slices(length_bytes, known.read_bytes):
            file.seek(offset)
            self._take(known, offset, file.read(size), contents)
            # After a crash in between, the intake is offered the same block again, and keeps the first.
            self._files.advance(known, offset + size)
        self._files.finish(known)
        log.info("link %s: key file %r was read, %d bytes", self.link.name, name, length_bytes)

    def _take(self, file: KeyFile, offset: int, bits: bytes, contents: bytes) -> None:
        self._intake.take(
            block_id_of(self.link.name, file.name, offset),
            self.link.name,
            owner_of(self.link.name, file, offset, self._ends),
            8 * len(bits),
            bits,
            origin="directory",
            binding=binding(bits, contents),
        )

    def _delete(self, name: str, signature: Signature) -> None:
        path = self._folder.path / name
        if _signature(path.lstat()) == signature:
            path.unlink()

    def _say(self, name: str, trouble: str) -> None:
        """One line when trouble begins or changes, not one per look."""
        if self._said.get(name) != trouble:
            self._said[name] = trouble
            what = f"key file {name!r}: " if name else ""
            log.warning("link %s: %s%s", self.link.name, what, trouble)


class NothingToOrder:
    """In the place of `Rounds`, where bits come when somebody brings them."""

    def order(self) -> bool:
        return False


class SparingConfirmation:
    """Asks ever more rarely about a block that is not at the peer yet: its file may come in an hour."""

    def __init__(self, confirmation: Confirmation, clock: Callable[[], float]) -> None:
        self._confirmation = confirmation
        self._clock = clock
        self._pauses: dict[UUID, BackOff] = {}

    def ask(self, block: Block, peer: Peer) -> None:
        pause = self._pauses.setdefault(block.block_id, BackOff(0.5, 10.0))
        if not pause.over(self._clock()):
            raise Refused(404, f"block {block.block_id} was not there a moment ago")
        try:
            self._confirmation.ask(block, peer)
        except Refused:
            pause.failed(self._clock())
            raise
        except KmeError:
            del self._pauses[block.block_id]
            raise
        del self._pauses[block.block_id]


def slices(length_bytes: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Offset and size of each block of a file, from `start` on. A file is cut into two at least, where it is long
    enough, so that both KMEs own some; what is left at its end and too short for a block is never used."""
    size = max(LEAST_BLOCK_BYTES, min(MOST_BLOCK_BYTES, (length_bytes + 1) // 2))
    for offset in range(0, length_bytes - LEAST_BLOCK_BYTES + 1, size):
        if offset >= start:
            yield offset, min(size, length_bytes - offset)


def block_id_of(link: str, name: str, offset: int) -> UUID:
    return uuid5(_BLOCKS, f"{link}|{offset}|{name}")


def owner_of(link: str, file: KeyFile, offset: int, ends: list[str]) -> str:
    """The two KMEs take turns; the file's name decides who begins. `ends` are both, sorted."""
    first = block_id_of(link, file.name, 0).int
    size = max(LEAST_BLOCK_BYTES, min(MOST_BLOCK_BYTES, (file.length_bytes + 1) // 2))
    return ends[(first + offset // size) % 2]


def _signature(found: os.stat_result) -> Signature:
    return found.st_ino, found.st_size, found.st_mtime_ns
