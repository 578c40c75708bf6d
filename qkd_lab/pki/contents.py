"""What a certificate says about its holder: everything but key, serial number and issuer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutual_tls.identity import Identity

LEAF_LIFE = timedelta(days=397)
ORGANIZATION = "QKD lab (a simulator)"
COMMON_NAME_LENGTH = 64  # X.520's upper bound


@dataclass(frozen=True)
class Contents:
    """`names` are those of the SAN, none for a certificate without one; `serves`: good for servers as well."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    serves: bool
    life: timedelta = LEAF_LIFE


def by_urn(identity: Identity, hosts: tuple[str, ...], life: timedelta = LEAF_LIFE) -> Contents:
    """The lab's own certificates: the identity is in the SAN, and with `hosts` they are good for servers."""
    return Contents(
        _common_name(identity.id[:COMMON_NAME_LENGTH]), tuple(alternative_names(identity, hosts)), bool(hosts), life
    )


def by_common_name(sae_id: str, life: timedelta = LEAF_LIFE) -> Contents:
    """As certificates for SAEs come from elsewhere: the SAE id is the subject's common name, and there is no SAN."""
    return Contents(_common_name(sae_id), (), False, life)


def by_serial_number(name: str, life: timedelta = LEAF_LIFE) -> Contents:
    """Names no SAE at all: whose it is, is what was registered for its issuer and serial number."""
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, name[:COMMON_NAME_LENGTH])
    return Contents(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION), unit]), (), False, life)


def contents_of(certificate: x509.Certificate) -> Contents:
    """For its successor."""
    try:
        names = tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = ()
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        serves = ExtendedKeyUsageOID.SERVER_AUTH in usages
    except x509.ExtensionNotFound:
        serves = False
    days = round((certificate.not_valid_after_utc - certificate.not_valid_before_utc) / timedelta(days=1))
    return Contents(certificate.subject, names, serves, timedelta(days=max(1, days)))


def alternative_names(identity: Identity, hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    """The URN, and where it serves, every name and address it is reached by."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.urn)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
