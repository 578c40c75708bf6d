"""Asks this container's own process how it is, as the health probe: exit status 0 when it is well."""

from __future__ import annotations

import sys

from cryptography import x509

from mutual_tls.client import Peer, PeerError
from mutual_tls.contexts import CredentialError
from mutual_tls.identity import identity_of

from .settings import Settings, SettingsError

TIMEOUT_S = 3.0


def main() -> None:
    try:
        settings = Settings.from_environment()
        shown = next(settings.pki.glob(f"{settings.process}-app"), settings.pki / settings.process) / "cert.pem"
        identity = identity_of(x509.load_pem_x509_certificate(shown.read_bytes()))
        probe = Peer(settings.address(settings.process, "ops"), identity, settings.credentials_of("probe"))
        probe.request("GET", "/healthz", timeout_s=TIMEOUT_S)
    except (PeerError, SettingsError, CredentialError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
