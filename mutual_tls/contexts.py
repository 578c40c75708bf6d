"""TLS contexts: 1.2 or newer, a certificate required from the other side, one authority for a listener's callers."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Of TLS 1.2: forward secrecy and authenticated encryption; 1.3 has no others.
GOOD_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CredentialError(Exception):
    """A certificate, key or authority file is missing or unusable, or a context is weaker than it must be."""


@dataclass(frozen=True)
class Credentials:
    """A process's own certificate and key, the authorities (a PEM bundle) it verifies servers with, and the folder of
    the authorities' revocation lists; None: it knows of none, which a listener refuses."""

    certificate: Path
    key: Path
    authorities: Path
    revocations: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path, revocations: Path | None = None) -> Credentials:
        """The three files of `.lab/pki/<name>/`. The lists are in `.lab/crl/`, unless it is said where."""
        lists = revocations or folder.parent.parent / "crl"
        return cls(folder / "cert.pem", folder / "key.pem", folder / "ca.pem", lists)


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
    context.set_ciphers(GOOD_SUITES)
    # CERT_REQUIRED is 2; True would be CERT_OPTIONAL and let clients without a certificate in.
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, credentials, callers)
    authority_count = len(context.get_ca_certs())
    if authority_count != 1:
        raise CredentialError(f"{callers}: a listener trusts exactly one authority, found {authority_count}")
    return context


def refuse_weak(context: ssl.SSLContext, listener: str) -> None:
    """Raises CredentialError, naming all that is wrong, unless whoever connects must show a certificate of the one
    authority over TLS 1.2 or newer. A server calls it at its start, whatever made the context."""
    newest = context.maximum_version
    wanted = {
        f"verify_mode is {context.verify_mode.name}, expected CERT_REQUIRED": context.verify_mode == ssl.CERT_REQUIRED,
        f"minimum_version is {context.minimum_version.name}, expected TLSv1_2 or TLSv1_3": context.minimum_version
        in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        f"maximum_version is {newest.name}, expected none below TLSv1_2": newest == ssl.TLSVersion.MAXIMUM_SUPPORTED
        or newest >= ssl.TLSVersion.TLSv1_2,
        f"it trusts {len(context.get_ca_certs())} authorities, expected one": len(context.get_ca_certs()) == 1,
        "it is no server's context": context.protocol == ssl.PROTOCOL_TLS_SERVER,
        "it accepts proxy certificates": not context.verify_flags & ssl.VERIFY_ALLOW_PROXY_CERTS,
        "it allows ciphers of less than 128 bits": all(one["strength_bits"] >= 128 for one in context.get_ciphers()),
        "it allows ciphers without authenticated encryption": all(one["aead"] for one in context.get_ciphers()),
        "it allows ciphers without a certificate": not any(one["auth"] == "auth-null" for one in context.get_ciphers()),
    }
    if problems := [problem for problem, good in wanted.items() if not good]:
        raise CredentialError(f"listener {listener}: TLS is weaker than it must be: {'; '.join(problems)}")


@contextmanager
def in_memory(pem: bytes) -> Iterator[str]:
    """A path to read `pem` from: Python's ssl takes files only, and one on disk may change between check and use."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


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
