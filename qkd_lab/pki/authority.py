"""One certificate authority: it signs for one kind of role only, so that a listener can trust it alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutual_tls.identity import Identity
from qkd_lab.private_files import write_private

AUTHORITY_LIFE = timedelta(days=3653)
LEAF_LIFE = timedelta(days=397)
# A certificate must be good at once, also where another machine's clock is a little behind.
BACKDATED = timedelta(minutes=5)

Key = ec.EllipticCurvePrivateKey


class PkiError(Exception):
    """Certificates can't be made or used; the message names the file and what to do."""


class Authority:
    """`certificate` is self-signed; the private key stays in here."""

    def __init__(self, name: str, certificate: x509.Certificate, key: Key) -> None:
        self.name = name
        self.certificate = certificate
        self._key = key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @classmethod
    def at(cls, pki: Path, name: str, now: datetime) -> Authority:
        """The authority kept in `authorities/<name>/`, made there if there is none."""
        folder = pki / "authorities" / quote(name, safe="")
        if not (folder / "cert.pem").exists():
            # The certificate comes last: a folder with one is whole.
            certificate, key = _self_signed(name, now)
            write_private(folder / "key.pem", key_pem(key))
            write_private(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        try:
            certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise PkiError(
                f"{folder}: the authority can't be read ({error}); remove the folder to have a new one"
            ) from error
        return cls(name, certificate, key)

    def issue(self, identity: Identity, hosts: tuple[str, ...], now: datetime) -> tuple[bytes, bytes]:
        """A new certificate and its new key, both PEM. With `hosts` it is good for servers as well as for clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        # X.520 allows 64 characters; the id that counts is the URN.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.id[:64])])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        certificate = (
            _builder(subject, self.certificate.subject, key, now, LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternative_names(identity, hosts)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


def alternative_names(identity: Identity, hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    """The URN, and where it serves, every name and address it is reached by."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.urn)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(name: str, now: datetime) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "QKD lab (a simulator)"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority"[:64]),
        ]
    )
    certificate = (
        _builder(subject, subject, key, now, AUTHORITY_LIFE)
        # No authority may make another: path length 0.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(**granted: bool) -> x509.KeyUsage:
    usages = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**{**usages, **granted})
