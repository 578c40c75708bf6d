"""Certificates that no longer count: a signed list (CRL, RFC 5280 clause 5) per authority, read again when it changes.

A list is public and signed, so it does not matter who wrote its file. What can't be used is not used: the last good
list stays in force, and the fault is said in the log and by the health check. An expired list stays in force as well,
since what was revoked does not become good again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID, NameOID

log = logging.getLogger(__name__)

_CRITICAL_KNOWN = {ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}
Stamp = tuple[int, int, int]


class RevocationError(Exception):
    """A revocation list can't be used; the message names the file, the cause and what to do."""


@dataclass(frozen=True)
class RevocationList:
    """`issuer` is the authority's name in DER, `pem` the list itself."""

    issuer: bytes
    number: int
    serial_numbers: frozenset[int]
    this_update: datetime
    next_update: datetime
    pem: bytes


def list_file(folder: Path, authority: x509.Certificate) -> Path:
    """Where an authority's list is kept: `sae-a.pem` for the authority with the common name `sae-a authority`."""
    names = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value).removesuffix(" authority") if names else authority.subject.rfc4514_string()
    return folder / f"{quote(name, safe='')}.pem"


def list_in(data: bytes, authority: x509.Certificate) -> RevocationList:
    """The list in `data`, PEM or DER. Raises RevocationError unless it is a whole one that `authority` signed."""
    try:
        load = x509.load_pem_x509_crl if data.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_crl
        crl = load(data)
        if crl.issuer != authority.subject or not crl.is_signature_valid(authority.public_key()):
            raise RevocationError("it is not signed by the authority itself")
        # A list of a part (delta, or for some reasons only) says so in a critical extension.
        strange = [one.oid.dotted_string for one in crl.extensions if one.critical and one.oid not in _CRITICAL_KNOWN]
        if strange:
            raise RevocationError(f"it has an extension that is not understood here: {', '.join(strange)}")
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        serial_numbers = frozenset(entry.serial_number for entry in crl)
    except x509.ExtensionNotFound:
        raise RevocationError("it has no CRL number") from None
    except (ValueError, TypeError) as error:
        raise RevocationError(f"it is no certificate revocation list ({error})") from None
    if crl.next_update_utc is None:
        raise RevocationError("it does not say when the next one is due")
    pem = crl.public_bytes(serialization.Encoding.PEM)
    times = crl.last_update_utc, crl.next_update_utc
    return RevocationList(_der(crl.issuer), number, serial_numbers, *times, pem)


def stamp_of(path: Path) -> Stamp:
    """Changes whenever a file is replaced or written."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


class Revocations:
    """The lists of the authorities in a PEM bundle, each from its file in `folder`.

    Raises RevocationError where one is missing or unusable at the start: who can't tell what is revoked trusts nobody.
    `refresh` may be called by any thread; `is_revoked` is a look-up in a set.
    """

    def __init__(
        self, folder: Path, authorities: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        bundle = x509.load_pem_x509_certificates(authorities.read_bytes())
        self._authorities = {list_file(folder, one): one for one in bundle}
        self._stamps: dict[Path, Stamp] = {}
        self._faults: dict[Path, str] = {}
        self.lists: dict[Path, RevocationList] = {}
        self._revoked: frozenset[tuple[bytes, int]] = frozenset()
        self.refresh()
        if missing := [fault for path, fault in self._faults.items() if path not in self.lists]:
            raise RevocationError(missing[0])

    def refresh(self) -> bool:
        """Reads what has changed since the last time; whether another list is in force now."""
        changed = False
        for path, authority in self._authorities.items():
            try:
                stamp = stamp_of(path)
                if self._stamps.get(path) != stamp:
                    changed |= self._take(path, list_in(path.read_bytes(), authority))
                    self._stamps[path] = stamp
                    self._faults.pop(path, None)
            except (OSError, RevocationError) as error:
                cause = error.strerror if isinstance(error, OSError) else error
                self._say(
                    path, f"the revocation list {path} can't be used: {cause}; `qkd-lab pki init` makes a new one"
                )
        if changed:
            self._revoked = frozenset(
                (one.issuer, serial) for one in self.lists.values() for serial in one.serial_numbers
            )
        return changed

    def is_revoked(self, der: bytes) -> bool:
        return _name_of(der) in self._revoked

    def fault(self) -> str | None:
        """What is wrong with the lists now, in words, or None."""
        now = self._clock()
        for path, one in self.lists.items():
            if one.next_update <= now and path not in self._faults:
                return (
                    f"the revocation list {path} has expired at {one.next_update:%Y-%m-%d %H:%M} UTC and stays in "
                    "force; `qkd-lab pki init` makes a new one"
                )
        return next(iter(self._faults.values()), None)

    def _take(self, path: Path, read: RevocationList) -> bool:
        held = self.lists.get(path)
        if held is not None and held.pem == read.pem:
            return False
        if held is not None and read.number <= held.number:
            raise RevocationError(f"its number is {read.number}, and number {held.number} is in force")
        self.lists[path] = read
        if held is not None:
            log.warning("%s: number %d, %d revoked", path.name, read.number, len(read.serial_numbers))
        return True

    def _say(self, path: Path, fault: str) -> None:
        if self._faults.get(path) != fault:
            log.error("%s", fault)
            self._faults[path] = fault


@lru_cache(maxsize=4096)
def _name_of(der: bytes) -> tuple[bytes, int]:
    """What a list calls a certificate by: its issuer and its serial number (RFC 5280 clause 5.3)."""
    certificate = x509.load_der_x509_certificate(der)
    return _der(certificate.issuer), certificate.serial_number


def _der(name: x509.Name) -> bytes:
    return name.public_bytes()
