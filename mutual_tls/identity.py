"""Who a certificate's holder is: a role and an id, `urn:qkd:<role>:<percent-encoded id>` in the SAN (RFC 8141)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

ROLES = ("sae", "kme", "qkde", "qlink", "operator", "probe", "monitor", "app")
PREFIX = "urn:qkd:"


class NoIdentity(Exception):
    """The certificate names no identity that counts here."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`role` is one of ROLES; `id` is a plain string, unique in the network for its role."""

    role: str
    id: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise NoIdentity(f"unknown role {self.role!r}: expected one of {', '.join(ROLES)}")
        if not self.id:
            raise NoIdentity("an identity needs an id that is not empty")

    @property
    def urn(self) -> str:
        return f"{PREFIX}{self.role}:{quote(self.id, safe='')}"

    @classmethod
    def from_urn(cls, urn: str) -> Identity:
        role, separator, name = urn.removeprefix(PREFIX).partition(":")
        if not urn.startswith(PREFIX) or not separator:
            raise NoIdentity(f"{urn!r} is not urn:qkd:<role>:<id>")
        try:
            return cls(role, unquote(name, errors="strict"))
        except UnicodeDecodeError:
            raise NoIdentity(f"{urn!r} has an id that is not UTF-8") from None

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a certificate shows of its holder: `issuer` is an RFC 4514 string."""

    issuer: str
    serial_number: int
    urns: tuple[str, ...]
    common_names: tuple[str, ...]

    @classmethod
    def by(cls, certificate: x509.Certificate) -> Shown:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound:
            uris = []
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise NoIdentity(f"the certificate's names can't be read: {error}") from None
        return cls(
            certificate.issuer.rfc4514_string(),
            certificate.serial_number,
            tuple(uri for uri in uris if uri.startswith(PREFIX)),
            tuple(str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)),
        )


# Whose a certificate without a `urn:qkd:` name is, by issuer (an RFC 4514 string) and serial number: an SAE id or None.
Registered = Callable[[str, int], str | None]


def identity_of(
    certificate: x509.Certificate, *, subject_counts: bool = False, registered: Registered | None = None
) -> Identity:
    """The identity in a verified certificate.

    `subject_counts` is for listeners under an SAE authority alone: there, where the SAN has no `urn:qkd:` at all, first
    the SAE registered for issuer and serial number counts, then the subject's common name as the SAE id, since
    certificates for SAEs often come from elsewhere (ETSI GS QKD 014 leaves the field open). More than one URN, or a
    malformed one, is no identity: guessing would let a caller choose.
    """
    return _identity(Shown.by(certificate), subject_counts, registered)


def identity_of_der(der: bytes, subject_counts: bool = False, registered: Registered | None = None) -> Identity:
    """`identity_of` for a DER certificate, which is parsed once: a caller's is the same on every request."""
    try:
        shown = _shown_by_der(der)
    except ValueError as error:
        raise NoIdentity(f"the certificate can't be read: {error}") from None
    return _identity(shown, subject_counts, registered)


def _identity(shown: Shown, subject_counts: bool, registered: Registered | None) -> Identity:
    if len(shown.urns) == 1:
        return Identity.from_urn(shown.urns[0])
    if shown.urns:
        raise NoIdentity(f"the certificate has {len(shown.urns)} {PREFIX} names: expected one")
    if subject_counts:
        sae_id = registered(shown.issuer, shown.serial_number) if registered else None
        if sae_id is not None:
            return Identity("sae", sae_id)
        if len(shown.common_names) == 1:
            return Identity("sae", shown.common_names[0])
        raise NoIdentity(
            f"its serial number {shown.serial_number:x} is not registered, and it has neither a {PREFIX}sae:<id> in "
            "its subject alternative names nor one common name"
        )
    raise NoIdentity(f"the certificate has no {PREFIX}<role>:<id> in its subject alternative names")


@lru_cache(maxsize=1024)
def _shown_by_der(der: bytes) -> Shown:
    return Shown.by(x509.load_der_x509_certificate(der))
