"""The folder `.lab/pki`: `authorities/<name>/`, and `<percent-encoded name>/{cert,key,ca}.pem` per holder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from mutual_tls.identity import Identity, NoIdentity, identity_of
from qkd_lab.pki.authority import Authority, PkiError, alternative_names
from qkd_lab.pki.holders import Holder, holders, sae_client
from qkd_lab.private_files import private_folder, write_private, write_where_different
from qkd_lab.processes import sae_authority
from qkd_lab.topology import Topology

RENEWED_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Listed:
    """One certificate as `qkd-lab pki list` shows it."""

    name: str
    identity: Identity
    authority: str
    names: tuple[str, ...]
    expires: datetime
    serial_number: int


class Pki:
    """All certificates of one lab. `now` is an aware time."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self._now = now

    def make(self, topology: Topology) -> list[str]:
        """Makes or renews what is missing or no longer good, and nothing else; returns the names it made."""
        with self._locked():
            for site in topology.sites:
                Authority.at(self.folder, sae_authority(site.name), self._now)
            return [holder.name for holder in holders(topology) if self._ensure(holder)]

    def issue_sae(self, sae_id: str, site: str) -> Path:
        """The folder of an SAE's client certificate, which is made unless there is a good one."""
        holder = sae_client(sae_id, site)
        if not (self.folder / "authorities" / quote(holder.authority, safe="")).is_dir():
            raise PkiError(
                f"site {site!r} has no authority in {self.folder}: expected one of {', '.join(self._sites())}"
            )
        with self._locked():
            folder = holder.folder(self.folder)
            held = _certificate(folder)
            if held is not None and not held.issuer == self._authority(holder.authority).certificate.subject:
                raise PkiError(
                    f"{sae_id!r} has a certificate of another kind or site already ({folder}): choose another id"
                )
            self._ensure(holder)
        return folder

    def list(self) -> list[Listed]:
        """Every holder's certificate, by name."""
        found = []
        for folder in sorted(self.folder.glob("*")):
            certificate = _certificate(folder)
            if folder.name == "authorities" or certificate is None:
                continue
            issuer = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
            found.append(
                Listed(
                    unquote(folder.name),
                    identity_of(certificate, subject_counts=True),
                    str(issuer).removesuffix(" authority"),
                    _host_names(certificate),
                    certificate.not_valid_after_utc,
                    certificate.serial_number,
                )
            )
        return found

    def _ensure(self, holder: Holder) -> bool:
        folder = holder.folder(self.folder)
        issuer = self._authority(holder.authority)
        renewed = not self._is_good(folder, holder, issuer)
        if renewed:
            certificate, key = issuer.issue(holder.identity, holder.hosts, self._now)
            # A crash between the two leaves a pair that does not match; `_is_good` sees it next time.
            write_private(folder / "key.pem", key)
            write_private(folder / "cert.pem", certificate, 0o644)
        bundle = b"".join(self._authority(name).pem for name in holder.calls)
        write_where_different(folder / "ca.pem", bundle, 0o644)
        for name in holder.callers:
            write_where_different(folder / "trust" / f"{quote(name, safe='')}.pem", self._authority(name).pem, 0o644)
        return renewed

    def _is_good(self, folder: Path, holder: Holder, issuer: Authority) -> bool:
        certificate = _certificate(folder)
        if certificate is None or certificate.not_valid_after_utc - self._now < RENEWED_BEFORE:
            return False
        try:
            certificate.verify_directly_issued_by(issuer.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        matches = key.public_key() == certificate.public_key()
        return matches and all(name in names for name in alternative_names(holder.identity, holder.hosts))

    def _authority(self, name: str) -> Authority:
        return Authority.at(self.folder, name, self._now)

    def _sites(self) -> list[str]:
        return sorted(unquote(path.name)[4:] for path in (self.folder / "authorities").glob("sae-*")) or ["none"]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self.folder)
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _certificate(folder: Path) -> x509.Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        identity_of(certificate, subject_counts=True)
    except (OSError, ValueError, NoIdentity):
        return None
    return certificate


def _host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
