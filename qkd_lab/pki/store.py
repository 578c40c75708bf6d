"""The folder `.lab/pki`: `authorities/<name>/`, and `<percent-encoded name>/{cert,key,ca}.pem` per holder.

Beside it, in `.lab/crl`, are the authorities' revocation lists, which are for everybody.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from qkd_lab.pki import bundle
from qkd_lab.pki.authority import Authority, PkiError, authority_folder
from qkd_lab.pki.contents import Contents, contents_of
from qkd_lab.pki.holders import Holder, holders, sae_client
from qkd_lab.pki.keys import KEY_TYPES, Key, key_pem, key_type_of
from qkd_lab.pki.listed import Listed, certificate_in, listed, renewed_from
from qkd_lab.pki.revoked import RevokedBy
from qkd_lab.private_files import private_folder, write_private, write_where_different
from qkd_lab.processes import sae_authority
from qkd_lab.topology import Topology


class Pki:
    """All certificates of one lab. `now` is an aware time."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self.lists = folder.parent / "crl"
        self._now = now

    def make(self, topology: Topology, more_hosts: Iterable[str] = ()) -> list[str]:
        """Makes or renews what is missing or no longer good, and nothing else; returns the names it made."""
        with self._locked():
            for site in topology.sites:
                self._authority(sae_authority(site.name))
            made = [holder.name for holder in holders(topology, more_hosts) if self._ensure(holder)]
            self.publish_lists()
            return made

    def make_for(self, wanted: Iterable[Holder], authorities: Mapping[str, tuple[str, timedelta]]) -> list[str]:
        """`make` for a network of one's own: its holders, and key type and life of each authority."""
        with self._locked():
            for name, (key_type, life) in authorities.items():
                Authority.at(self.folder, name, self._now, key_type, life)
            made = [holder.name for holder in wanted if self._ensure(holder)]
            self.publish_lists()
            return made

    def issue_sae(self, sae_id: str, site: str) -> Path:
        """The folder of an SAE's client certificate, which is made unless there is a good one."""
        return self.issue(sae_client(sae_id, site))

    def issue(self, holder: Holder, csr: x509.CertificateSigningRequest | None = None) -> Path:
        """The folder of a holder's certificate, made unless there is a good one; with `csr` for its key."""
        if not authority_folder(self.folder, holder.authority).is_dir():
            if holder.identity.role != "sae":
                raise PkiError(f"no authority {holder.authority} in {self.folder}: `qkd-lab pki init` makes it")
            site = holder.authority.removeprefix("sae-")
            raise PkiError(
                f"site {site!r} has no authority in {self.folder}: expected one of {', '.join(self._sites())}"
            )
        with self._locked():
            folder = holder.folder(self.folder)
            held = certificate_in(folder)
            if held is not None and not held.issuer == self._authority(holder.authority).certificate.subject:
                raise PkiError(
                    f"{holder.name!r} has a certificate of another kind or site already ({folder}): choose another id"
                )
            if held is not None and self._revoked_by(holder.authority).since.get(held.serial_number):
                raise PkiError(f"the certificate of {holder.name!r} was revoked: `qkd-lab pki renew` makes another")
            if csr is not None and (folder / "key.pem").exists():
                raise PkiError(f"{folder} has a key of its own: a request for a certificate needs a name without one")
            if csr is not None:
                self._write(
                    folder, self._authority(holder.authority).sign(holder.contents, csr.public_key(), self._now)
                )
                self._write_trust(folder, holder)
            else:
                self._ensure(holder)
            self._revoked_by(holder.authority).publish()
        return folder

    def renew(self, name: str) -> tuple[str, int]:
        """Another certificate with the same contents for `name`, and a new key where the key is kept here. Returns the
        authority and the serial number of the one before, which stays good until it expires or is revoked."""
        with self._locked():
            folder, held, issuer = self._held(name)
            key = None
            if (folder / "key.pem").exists():
                key = KEY_TYPES[key_type_of(held.public_key())]()
            self._write(folder, issuer.sign(contents_of(held), (key or held).public_key(), self._now), key)
            if (folder / bundle.FILE).exists():
                bundle.write_bundle(folder, name)
            return issuer.name, held.serial_number

    def revoke(self, name: str) -> tuple[str, int, bool]:
        """Revokes the certificate in the folder of `name`: its authority, its serial number, whether it is new."""
        with self._locked():
            _, held, issuer = self._held(name)
            return issuer.name, held.serial_number, self._revoked_by(issuer.name).revoke(held.serial_number)

    def revoke_serial(self, serial_number: int, authority: str) -> bool:
        """Whether it is new."""
        if authority not in self.authorities():
            raise PkiError(
                f"no authority {authority!r} here: expected one of {', '.join(self.authorities()) or 'none'}"
            )
        with self._locked():
            return self._revoked_by(authority).revoke(serial_number)

    def publish_lists(self) -> None:
        """Every authority has a list where processes read it, also one that nobody was ever revoked by."""
        for name in self.authorities():
            self._revoked_by(name).publish()

    def authorities(self) -> list[str]:
        return sorted(unquote(path.parent.name) for path in (self.folder / "authorities").glob("*/cert.pem"))

    def list(self) -> list[Listed]:
        """Every holder's certificate, by name."""
        return listed(self.folder, {name: self._revoked_by(name).since for name in self.authorities()})

    def _ensure(self, holder: Holder) -> bool:
        folder = holder.folder(self.folder)
        issuer = self._authority(holder.authority)
        renewed = not self._is_good(folder, holder, issuer)
        if renewed:
            key, before, serial_number = KEY_TYPES[holder.key_type](), certificate_in(folder), holder.serial_number
            if before is not None and before.serial_number == serial_number:
                serial_number = None  # an authority uses a number once (RFC 5280 clause 4.1.2.2)
            certificate = issuer.sign(holder.contents, key.public_key(), self._now, serial_number)
            self._write(folder, certificate, key)
        self._write_trust(folder, holder)
        if holder.identity.role in ("sae", "operator") and (renewed or not (folder / bundle.FILE).exists()):
            bundle.write_bundle(folder, holder.name)
        return renewed

    def _write(self, folder: Path, certificate: x509.Certificate, key: Key | None = None) -> None:
        # A crash between the two leaves a pair that does not match; `_is_good` sees it next time, and a process that
        # reads them meanwhile goes on with the pair before.
        if key is not None:
            write_private(folder / "key.pem", key_pem(key))
        write_private(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def _write_trust(self, folder: Path, holder: Holder) -> None:
        authorities = b"".join(self._authority(name).pem for name in holder.calls)
        write_where_different(folder / "ca.pem", authorities, 0o644)
        for name in holder.callers:
            write_where_different(folder / "trust" / f"{quote(name, safe='')}.pem", self._authority(name).pem, 0o644)

    def _is_good(self, folder: Path, holder: Holder, issuer: Authority) -> bool:
        certificate = certificate_in(folder)
        if certificate is None:
            return False
        try:
            certificate.verify_directly_issued_by(issuer.certificate)
            if certificate.serial_number in self._revoked_by(issuer.name).since:
                return True  # whoever was revoked gets no other certificate by itself
            if renewed_from(certificate) < self._now:
                return False
            if (folder / "key.pem").exists() or holder.hosts:
                key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
                if key.public_key() != certificate.public_key():
                    return False
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        return _says_enough(contents_of(certificate), holder)

    def _held(self, name: str) -> tuple[Path, x509.Certificate, Authority]:
        """A holder's certificate and the authority that signed it."""
        folder = self.folder / quote(name, safe="")
        certificate = certificate_in(folder) if name not in ("", ".", "..", "authorities") else None
        if certificate is None:
            raise PkiError(f"no certificate {name!r} here: `qkd-lab pki list` shows those there are")
        for authority in map(self._authority, self.authorities()):
            try:
                certificate.verify_directly_issued_by(authority.certificate)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return folder, certificate, authority
        raise PkiError(
            f"{folder / 'cert.pem'}: no authority of {self.folder} signed it; `qkd-lab pki init` makes another"
        )

    def _authority(self, name: str) -> Authority:
        return Authority.at(self.folder, name, self._now)

    def _revoked_by(self, authority: str) -> RevokedBy:
        return RevokedBy(self.folder, self.lists, self._authority(authority), self._now)

    def _sites(self) -> list[str]:
        return [name[4:] for name in self.authorities() if name.startswith("sae-")] or ["none"]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self.folder)
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _says_enough(held: Contents, holder: Holder) -> bool:
    """Whether a certificate names its holder and every host. An SAE's may do so by its subject alone."""
    wanted = holder.contents
    if all(name in held.names for name in wanted.names):
        return True
    return holder.identity.role == "sae" and not held.names
