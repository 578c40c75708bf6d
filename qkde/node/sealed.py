"""Secrets a QKDE must not lose: files that survive a crash whole, encrypted at rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class SealedFileError(Exception):
    """A file can't be decrypted; the message names it."""


class SealedFiles:
    """Files of one folder. `key`: 32 bytes; contents are AES-256-GCM under it, bound to their description."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder = folder
        self._cipher = AESGCM(key)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, name: str, description: dict[str, Any], secret: bytes) -> None:
        """Durable when it returns; a crash before that leaves the old file or none."""
        described = json.dumps(description).encode()
        nonce = os.urandom(NONCE_BYTES)
        path, temporary = self.folder / name, self.folder / f".{name}.new"
        with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(described + b"\n" + nonce + self._cipher.encrypt(nonce, secret, described))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self.sync()

    def read(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Description and secret. Raises SealedFileError, FileNotFoundError."""
        path = self.folder / name
        described, _, sealed = path.read_bytes().partition(b"\n")
        try:
            secret = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], described)
            return json.loads(described), secret  # only now is it known to be what was written
        except (InvalidTag, ValueError):
            raise SealedFileError(f"{path} can't be decrypted: it is damaged, or the spool key has changed") from None

    def sync(self) -> None:
        """Makes renamed and removed files durable."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
