"""One certificate authority: it signs for one kind of role only, so that a listener can trust it alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkd_lab.pki.contents import COMMON_NAME_LENGTH, ORGANIZATION, Contents
from qkd_lab.pki.keys import DEFAULT, KEY_TYPES, Key, hash_for, key_pem
from qkd_lab.private_files import write_private

AUTHORITY_LIFE = timedelta(days=3653)
LIST_LIFE = timedelta(days=397)
# A certificate must be good at once, also where another machine's clock is a little behind.
BACKDATED = timedelta(minutes=5)


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
    def at(
        cls, pki: Path, name: str, now: datetime, key_type: str = DEFAULT, life: timedelta = AUTHORITY_LIFE
    ) -> Authority:
        """The authority kept in `authorities/<name>/`, made there if there is none."""
        folder = authority_folder(pki, name)
        if not (folder / "cert.pem").exists():
            # The certificate comes last: a folder with one is whole.
            certificate, key = _self_signed(name, now, key_type, life)
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

    def sign(
        self,
        contents: Contents,
        public_key: CertificatePublicKeyTypes,
        now: datetime,
        serial_number: int | None = None,
    ) -> x509.Certificate:
        """A new certificate; its end is not after the authority's own."""
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if contents.serves else [])]
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        ends = min(now + contents.life, self.certificate.not_valid_after_utc)
        builder = (
            _builder(contents.subject, self.certificate.subject, public_key, now, ends, serial_number)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(own, critical=False)
        )
        if contents.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(contents.names), critical=False)
        return builder.sign(self._key, hash_for(self._key))

    def sign_list(self, revoked: Mapping[int, datetime], number: int, updated: datetime) -> bytes:
        """The revocation list `number`, PEM: serial numbers and since when."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(updated)
            .next_update(updated + LIST_LIFE)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for serial_number, since in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(since).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hash_for(self._key)).public_bytes(serialization.Encoding.PEM)


def authority_folder(pki: Path, name: str) -> Path:
    return pki / "authorities" / quote(name, safe="")


def _self_signed(name: str, now: datetime, key_type: str, life: timedelta) -> tuple[x509.Certificate, Key]:
    key = KEY_TYPES[key_type]()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority"[:COMMON_NAME_LENGTH]),
        ]
    )
    certificate = (
        _builder(subject, subject, key.public_key(), now, now + life)
        # No authority may make another: path length 0.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hash_for(key))
    )
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    now: datetime,
    ends: datetime,
    serial_number: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
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
