"""What an authority has revoked: its list (CRL, RFC 5280 clause 5), kept beside its key and published for everybody."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from mutual_tls.revocation import RevocationError, list_file, list_in
from qkd_lab.pki.authority import BACKDATED, Authority, PkiError, authority_folder
from qkd_lab.pki.listed import RENEWED_BEFORE
from qkd_lab.private_files import private_folder, write_private, write_where_different


class RevokedBy:
    """One authority's list. `published` is the folder that processes read it from; it holds nothing secret."""

    def __init__(self, pki: Path, published: Path, authority: Authority, now: datetime) -> None:
        self._record = authority_folder(pki, authority.name) / "crl.pem"
        self._published = list_file(published, authority.certificate)
        self._authority = authority
        self._now = now

    @property
    def since(self) -> dict[int, datetime]:
        """Serial numbers, and when each was revoked."""
        crl = self._crl()
        return {entry.serial_number: entry.revocation_date_utc for entry in crl} if crl else {}

    def publish(self) -> None:
        """Makes a list where there is none, signs it anew where it expires soon, and puts it where it is read."""
        crl = self._crl()
        if crl is None or crl.next_update_utc - self._now < RENEWED_BEFORE:
            self._sign(self.since)
        elif not self._record.exists():
            write_private(self._record, self._published.read_bytes(), 0o644)
        self._copy()

    def revoke(self, serial_number: int) -> bool:
        """Whether it is new."""
        since = self.since
        if serial_number in since:
            self._copy()
            return False
        self._sign({**since, serial_number: self._now})
        self._copy()
        return True

    def _crl(self) -> x509.CertificateRevocationList | None:
        # Where the record is lost, what was published is as good: it has the authority's signature.
        kept = next((path for path in (self._record, self._published) if path.exists()), None)
        if kept is None:
            return None
        data = kept.read_bytes()
        try:
            list_in(data, self._authority.certificate)
        except RevocationError as error:
            if self._is_of_an_authority_before(data):
                return None
            raise PkiError(
                f"{kept}: {error}; remove it where there is the other copy of it ({self._published}, {self._record}); "
                "without either, what was revoked counts again"
            ) from None
        return x509.load_pem_x509_crl(data)

    def _is_of_an_authority_before(self, data: bytes) -> bool:
        """An authority that was made anew has another key: what the one before it signed is void with it."""
        try:
            crl = x509.load_pem_x509_crl(data)
            signer = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        except (ValueError, x509.ExtensionNotFound):
            return False
        own = self._authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return signer != own.digest

    def _sign(self, since: dict[int, datetime]) -> None:
        before = self._crl()
        number, updated = 1, self._now - BACKDATED
        if before is not None:
            number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
            # OpenSSL takes the newest of several, and times have whole seconds.
            updated = max(updated, before.last_update_utc + timedelta(seconds=1))
        write_private(self._record, self._authority.sign_list(since, number, updated), 0o644)

    def _copy(self) -> None:
        folder = self._published.parent
        private_folder(folder)
        # Containers read it as another user, whatever this one's umask is.
        folder.chmod(0o755)
        write_where_different(self._published, self._record.read_bytes(), 0o644)
        self._published.chmod(0o644)
