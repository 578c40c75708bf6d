"""Where a KME's key-encryption keys come from: its secret `kek`, and the folder of those it makes itself."""

from __future__ import annotations

from kme.kek_folder import KekFolder
from kme.token_seal import TokenKey, TokenSeal

from .settings import Settings, SettingsError


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
            return None, KekFolder(path, TokenSeal(TokenKey.of_uri(given, settings.secrets)))
        return bytes.fromhex(given), KekFolder(path)
    except ValueError as error:
        told = str(error) if "PKCS#11" in str(error) else "expected 64 hexadecimal digits, or a PKCS#11 URI"
        raise SettingsError(f"the secret {settings.secrets / 'kek'}: {told}") from None
