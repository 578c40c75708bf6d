"""TLS contexts: 1.2 or newer, a certificate required from the other side, one authority for a listener's callers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


class CredentialError(Exception):
    """A certificate, key or authority file is missing or unusable."""


@dataclass(frozen=True)
class Credentials:
    """A process's own certificate and key, and the authorities (a PEM bundle) it verifies servers with."""

    certificate: Path
    key: Path
    authorities: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Credentials:
        """The three files of `.lab/pki/<name>/`."""
        return cls(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """The context of a client that shows its certificate and verifies the server's chain and host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, credentials, credentials.authorities)
    return context


def server_context(credentials: Credentials, callers: Path) -> ssl.SSLContext:
    """The context of a listener whose callers must show a certificate signed by the one authority in `callers`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # CERT_REQUIRED is 2; True would be CERT_OPTIONAL and let clients without a certificate in.
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, credentials, callers)
    authority_count = len(context.get_ca_certs())
    if authority_count != 1:
        raise CredentialError(f"{callers}: a listener trusts exactly one authority, found {authority_count}")
    return context


def _load(context: ssl.SSLContext, credentials: Credentials, authorities: Path) -> None:
    for path in (credentials.certificate, credentials.key, authorities):
        if not path.is_file():
            raise CredentialError(f"{path} is missing: make the lab's certificates with `qkd-lab pki init`")
    try:
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (ssl.SSLError, OSError) as error:
        raise CredentialError(f"{credentials.certificate} and its key can't be used: {error}") from error
    try:
        context.load_verify_locations(authorities)
    except (ssl.SSLError, OSError) as error:
        raise CredentialError(f"{authorities} holds no certificate authority: {error}") from error
