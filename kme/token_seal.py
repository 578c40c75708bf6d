"""Key-encryption keys sealed by a hardware token over PKCS#11: the token's own AES key never leaves it.

Envelope: the token encrypts the few KEKs of `kme.kek_folder` (AES-256-GCM inside the token); a KME opens them once at
its start, and at a rotation, and from then on works with them in its memory. So a delivery costs no call to the token,
and who steals disks, volumes or backups has nothing without it; who reads a running KME's memory has its KEKs, as with
any envelope, until they are rotated.

The token is used by a process of its own for each operation (`kme.token_process`): PKCS#11 modules do not survive the
fork of a server's workers, and what the vendor's code does or leaks, it does not do in the KME.

A PIN that the token has refused is not tried again: a KME that is started again and again would lock the token.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from kme.errors import Unavailable
from kme.token_process import PIN_REFUSED

_TIMEOUT_S = 30.0
_EXPECTED = (
    "expected pkcs11:token=<label>;object=<label of the key>?module-path=<library>&pin-source=file:<file> (RFC 7512)"
)


@dataclass(frozen=True)
class TokenKey:
    """Where a token's key is. `pin_file`: with nothing but the user's PIN in it."""

    module: Path
    token: str
    label: str
    pin_file: Path = field(repr=False)

    @classmethod
    def of_uri(cls, uri: str, folder: Path) -> TokenKey:
        """RFC 7512; a relative `pin-source` is in `folder`. Raises ValueError naming what is missing."""
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        found: dict[str, str] = {}
        for part in [*path.split(";"), *query.split("&")]:
            name, _, value = part.partition("=")
            found[name] = unquote(value)
        for name in ("token", "object", "module-path", "pin-source"):
            if not found.get(name):
                raise ValueError(f"the PKCS#11 URI of the key-encryption key has no {name}: {_EXPECTED}")
        if "pin-value" in found:
            raise ValueError("the PKCS#11 URI of the key-encryption key has a pin-value: put the PIN into a file")
        pin_file = folder / found["pin-source"].removeprefix("file:")
        return cls(Path(found["module-path"]), found["token"], found["object"], pin_file)


class TokenSeal:
    name = "pkcs11"

    def __init__(self, key: TokenKey, refused: Path) -> None:
        """`refused`: a file that all processes of the KME share; when the PIN's file was written that was refused."""
        self._key = key
        self._refused = refused

    def close(self, secret: bytes) -> str:
        """Makes the token's key where there is none yet."""
        return self._ask("close", secret.hex())

    def open(self, sealed: str) -> bytes:
        return bytes.fromhex(self._ask("open", sealed))

    def _ask(self, action: str, content: str) -> str:
        """Raises Unavailable, in words, where the token does not do it."""
        key = self._key
        with open(self._refused, "a+") as refused:
            fcntl.flock(refused, fcntl.LOCK_EX)  # of all processes, one tries
            refused.seek(0)
            try:
                pin, written = key.pin_file.read_text().strip(), str(key.pin_file.stat().st_mtime_ns)
            except OSError as error:
                raise Unavailable(f"the token's PIN can't be read: {key.pin_file}: {error.strerror}") from None
            if refused.read() == written:
                raise Unavailable(
                    f"token {key.token}: it has refused its PIN, which is not tried again lest it be locked: write the"
                    f" right one to {key.pin_file}"
                )
            done = self._done(action, content, pin)
            if done.returncode == PIN_REFUSED:
                refused.truncate(0)
                refused.write(written)
        if done.returncode:
            # The process says what is wrong on its first line of output, and never anything of what it worked on.
            said = (done.stdout.strip().splitlines() or ["the module failed"])[0]
            raise Unavailable(f"token {key.token}: {said}")
        return done.stdout.strip()

    def _done(self, action: str, content: str, pin: str) -> subprocess.CompletedProcess[str]:
        key = self._key
        asked = {
            "module": str(key.module),
            "token": key.token,
            "label": key.label,
            "pin": pin,
            "action": action,
            "content": content,
        }
        try:
            return subprocess.run(
                [sys.executable, "-m", "kme.token_process"],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"token {key.token}: no answer within {_TIMEOUT_S:g} s") from None
