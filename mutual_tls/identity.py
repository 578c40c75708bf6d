"""Who a certificate's holder is: a role and an id, `urn:qkd:<role>:<percent-encoded id>` in the SAN (RFC 8141)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

ROLES = ("sae", "kme", "qkde", "qlink", "operator", "probe", "app")
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
        return cls(role, unquote(name, errors="strict"))

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


def identity_of(certificate: x509.Certificate, *, subject_counts: bool = False) -> Identity:
    """The identity in a verified certificate.

    `subject_counts` is for listeners under an SAE authority alone: there the subject's common name stands for the SAE
    id where the SAN has no `urn:qkd:` at all, since certificates for SAEs often come from elsewhere (ETSI GS QKD 014
    leaves the field open). More than one URN, or a malformed one, is no identity: guessing would let a caller choose.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        urns = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(PREFIX)]
    except x509.ExtensionNotFound:
        urns = []
    if len(urns) == 1:
        return Identity.from_urn(urns[0])
    if urns:
        raise NoIdentity(f"the certificate has {len(urns)} {PREFIX} names: expected one")
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if subject_counts else []
    if len(common_names) == 1:
        return Identity("sae", str(common_names[0].value))
    raise NoIdentity(f"the certificate has no {PREFIX}<role>:<id> in its subject alternative names")


@lru_cache(maxsize=1024)
def identity_of_der(der: bytes, subject_counts: bool = False) -> Identity:
    """`identity_of` for a DER certificate, remembered: a caller's certificate is the same on every request."""
    return identity_of(x509.load_der_x509_certificate(der), subject_counts=subject_counts)
