"""Where a KME's key-encryption keys come from: its secret `kek`, and the folder of those it makes itself."""

from __future__ import annotations

import re

from kme.kek_folder import KekFolder
from kme.keywrap import KEK_BYTES
from kme.token_seal import TokenKey, TokenSeal

from .settings import Settings, SettingsError

_DIGITS = re.compile(f"[0-9a-fA-F]{{{2 * KEK_BYTES}}}")


def key_encryption(settings: Settings) -> tuple[bytes | None, KekFolder]:
    """The secret is a KEK in hexadecimal, the first one; or a PKCS#11 URI: then all are made by the KME, and sealed by
    that token. It may be destroyed once another KEK has taken its place."""
    path = settings.state / "keks"
    path.mkdir(mode=0o700, exist_ok=True)
    if any(path.glob("*.kek")) and not (settings.secrets / "kek").exists():
        return None, KekFolder(path)
    given = settings.secret("kek")
    try:
        if given.startswith("pkcs11:"):
            return None, KekFolder(path, TokenSeal(TokenKey.of_uri(given, settings.secrets), path / "refused-pin"))
    except ValueError as error:
        raise SettingsError(f"the secret {settings.secrets / 'kek'}: {error}") from None
    if not _DIGITS.fullmatch(given):
        # Not a digit of it is shown: it may be a key with something missing.
        raise SettingsError(
            f"the secret {settings.secrets / 'kek'} has {len(given)} characters: expected {2 * KEK_BYTES} hexadecimal"
            " digits, or a PKCS#11 URI"
        )
    return bytes.fromhex(given), KekFolder(path)
