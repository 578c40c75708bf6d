"""What certificates there are, as `qkd-lab pki list` and `doctor` see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509

from mutual_tls.identity import Identity, NoIdentity, identity_of

RENEWED_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Listed:
    """One certificate as `qkd-lab pki list` shows it. `identity` is None where only its serial number tells."""

    name: str
    identity: Identity | None
    has_urn: bool
    authority: str
    names: tuple[str, ...]
    expires: datetime
    serial_number: int
    renewed_from: datetime
    revoked_at: datetime | None = None


def listed(pki: Path, revoked: Mapping[str, Mapping[int, datetime]]) -> list[Listed]:
    """By name. `revoked`: what each authority has revoked, and when."""
    found = []
    for folder in sorted(pki.glob("*")):
        certificate = certificate_in(folder)
        if folder.name == "authorities" or certificate is None:
            continue
        names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        authority = str(names[0].value).removesuffix(" authority") if names else "unknown"
        identity, has_urn = _identity(certificate)
        found.append(
            Listed(
                unquote(folder.name),
                identity,
                has_urn,
                authority,
                host_names(certificate),
                certificate.not_valid_after_utc,
                certificate.serial_number,
                renewed_from(certificate),
                revoked.get(authority, {}).get(certificate.serial_number),
            )
        )
    return found


def renewed_from(certificate: x509.Certificate) -> datetime:
    """30 days before its end, or when two thirds of a short life are over."""
    ends = certificate.not_valid_after_utc
    return ends - min(RENEWED_BEFORE, (ends - certificate.not_valid_before_utc) / 3)


def certificate_in(folder: Path) -> x509.Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        certificate.extensions  # noqa: B018 a certificate whose extensions can't be read is none
    except (OSError, ValueError):
        return None
    return certificate


def _identity(certificate: x509.Certificate) -> tuple[Identity | None, bool]:
    """Who it is for, and whether its SAN says so."""
    try:
        return identity_of(certificate), True
    except NoIdentity:
        pass
    try:
        return identity_of(certificate, subject_counts=True), False
    except NoIdentity:
        return None, False


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
