"""Where a KME keeps the key-encryption keys that it has made itself: a folder that all its processes share.

`0001-<fingerprint>.kek` and so on, the newest with the greatest number; `<fingerprint>.dropped` for those of which
nothing is left; `lasting.key`, which no rotation changes (`kme.keyring`). How a file's content is sealed is the
`Seal`'s: by the file's mode alone, or by a hardware token (`kme.token_seal`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from kme.errors import Unavailable
from kme.keywrap import KEK_BYTES


class Seal(Protocol):
    name: str

    def close(self, secret: bytes) -> str: ...

    def open(self, sealed: str) -> bytes: ...


class FileMode:
    """The secret in hexadecimal: whoever can read the file has it, which is the KME's user alone."""

    name = "file"

    def close(self, secret: bytes) -> str:
        return secret.hex()

    def open(self, sealed: str) -> bytes:
        return bytes.fromhex(sealed)


class KekFolder:
    def __init__(self, path: Path, seal: Seal | None = None, random: Callable[[int], bytes] = os.urandom) -> None:
        self.path = path
        self.seal = seal or FileMode()
        self.random = random
        self._opened: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"KekFolder({self.path})"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Of all processes and threads, one at a time."""
        with open(self.path / "lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def keks(self) -> list[bytes]:
        """All that are not dropped, the newest last."""
        found = []
        for file in sorted(self.path.glob("*.kek")):
            with suppress(FileNotFoundError):  # dropped since it was listed
                found.append(self._read(file))
        return found

    def dropped(self) -> set[bytes]:
        return {bytes.fromhex(file.stem) for file in self.path.glob("*.dropped")}

    def add(self, kek: bytes, fingerprint: bytes) -> None:
        """Returns when it is durable. To be called in `locked`."""
        numbers = [int(file.name.partition("-")[0]) for file in self.path.glob("*.kek")]
        self._write(f"{max(numbers, default=0) + 1:04d}-{fingerprint.hex()}.kek", self.seal.close(kek))

    def drop(self, fingerprint: bytes) -> None:
        """Destroys it, and has it remembered as one that must not be used again, wherever it still may be."""
        self._write(f"{fingerprint.hex()}.dropped", "")
        for file in self.path.glob(f"*-{fingerprint.hex()}.kek"):
            file.unlink()
            self._opened.pop(file.name, None)
        self._sync()

    def lasting_key(self) -> bytes:
        """Made at first use."""
        file = self.path / "lasting.key"
        if not file.exists():
            with self.locked():
                if not file.exists():
                    self._write(file.name, self.seal.close(self.random(KEK_BYTES)))
        return self._read(file)

    def _read(self, file: Path) -> bytes:
        # A file's content never changes, and opening a seal may be slow.
        if file.name not in self._opened:
            self._opened[file.name] = self._opened_seal(file)
        return self._opened[file.name]

    def _opened_seal(self, file: Path) -> bytes:
        try:
            key = self.seal.open(file.read_text())
        except ValueError:
            key = b""
        if len(key) != KEK_BYTES:
            raise Unavailable(f"{file} is no key of {KEK_BYTES} bytes (any more): put its backup in its place")
        return key

    def _write(self, name: str, content: str) -> None:
        """Whole or not at all, also where the machine stops."""
        draft = self.path / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path / name)
        self._sync()

    def _sync(self) -> None:
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
