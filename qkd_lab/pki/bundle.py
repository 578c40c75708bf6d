"""PKCS#12: certificate, key and authorities in one file, for clients that take no PEM (RFC 7292)."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from qkd_lab.private_files import write_private

FILE, PASSWORD_FILE = "cert.p12", "p12.password"


def write_bundle(folder: Path, name: str) -> None:
    """`cert.p12` from the folder's PEM files; its password is kept in `p12.password`, made once. Both are private."""
    password_file = folder / PASSWORD_FILE
    if not password_file.exists():
        write_private(password_file, secrets.token_urlsafe(18))
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    pem = (folder / "ca.pem").read_bytes()
    authorities = x509.load_pem_x509_certificates(pem) if pem else []
    encryption = serialization.BestAvailableEncryption(password_file.read_text().strip().encode())
    write_private(
        folder / FILE, pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, authorities, encryption)
    )
