"""Certificates on disk: when they end, who signed them, whom they name, who can read their keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mutual_tls.identity import NoIdentity, identity_of
from qkd_lab.doctor.finding import Finding
from qkd_lab.lab_folder import LabFolder
from qkd_lab.pki.holders import Holder, holders
from qkd_lab.pki.listed import Listed, certificate_in, host_names
from qkd_lab.pki.store import Pki
from qkd_lab.topology import load

ANEW = "`qkd-lab pki init` makes what is missing or wrong"


def certificates(lab: LabFolder, now: datetime) -> Iterator[Finding]:
    if not lab.pki.exists():
        yield Finding("certificates", True, "no certificates yet: `qkd-lab up` makes them")
        return
    held = Pki(lab.pki, now).list()
    known = holders(load(lab.topology)) if lab.topology.exists() else []
    bad = [*_ends(held, now), *_readable(lab.pki), *(fault for holder in known for fault in _wrong(lab.pki, holder))]
    yield from bad
    if not bad:
        first = min(one.expires for one in held)
        yield Finding("certificates", True, f"{len(held)} certificates, the first expires {first:%Y-%m-%d}")


def _ends(held: list[Listed], now: datetime) -> Iterator[Finding]:
    late = [one.name for one in held if one.renewed_from < now and one.revoked_at is None]
    if late:
        hint = "`qkd-lab pki renew --expiring 30` renews them"
        yield Finding("certificates", False, f"certificates of {', '.join(late)} expire soon", hint)


def _readable(pki: Path) -> Iterator[Finding]:
    loose = [path for path in pki.glob("**/key.pem") if path.stat().st_mode & 0o077]
    if loose:
        yield Finding("certificates", False, f"{loose[0]} can be read by others", f"chmod 600 {loose[0]}")


def _wrong(pki: Path, holder: Holder) -> Iterator[Finding]:
    """What a TLS handshake would fail on, in words."""
    folder = holder.folder(pki)
    certificate = certificate_in(folder)
    if certificate is None:
        yield Finding("certificates", False, f"{folder} has no certificate that can be read", ANEW)
        return
    who = f"the certificate of {holder.name}"
    authority = certificate_in(pki / "authorities" / holder.authority)
    try:
        if authority is None:
            raise ValueError(f"{holder.authority}, which is not here")
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        yield Finding("certificates", False, f"{who} is not signed by the authority {holder.authority}", ANEW)
    if not _fits(folder / "key.pem", certificate):
        yield Finding("certificates", False, f"{folder / 'key.pem'} is not the key of its certificate", ANEW)
    try:
        named = identity_of(certificate, subject_counts=holder.named_by == "cn")
    except NoIdentity as error:
        yield Finding("certificates", False, f"{who} names nobody: {error}", ANEW)
    else:
        if holder.named_by != "serial" and named != holder.identity:
            yield Finding("certificates", False, f"{who} is that of {named}, expected {holder.identity}", ANEW)
    if missing := set(holder.hosts) - set(host_names(certificate)):
        yield Finding("certificates", False, f"{who} lacks the names {', '.join(sorted(missing))}", ANEW)


def _fits(key: Path, certificate: x509.Certificate) -> bool:
    try:
        return load_pem_private_key(key.read_bytes(), None).public_key() == certificate.public_key()
    except (OSError, ValueError, TypeError):
        return False
