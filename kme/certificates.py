"""Certificates that name no SAE themselves: registered by issuer and serial number, and looked up for every request.

The lookup never waits for Postgres once it has been read: keys are delivered without it. What another worker registers
counts here after REFRESHED_EVERY_S, at the latest with the second request.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from kme.database import Database
from kme.errors import BadRequest, Conflict, NotHere, Unavailable
from kme.limits import check_sae_id
from kme.records import write_audit
from kme.strict_json import object_in, string
from mutual_tls.identity import NoIdentity, Shown

log = logging.getLogger(__name__)

REFRESHED_EVERY_S = 1.0
# After a pause this long the first request waits for the newest state, if Postgres answers.
OLD_AFTER_S = 5.0
_MAX_SERIAL_NUMBER = 1 << 160  # RFC 5280 clause 4.1.2.2: at most 20 octets
_DECIMAL = re.compile(r"[0-9]{1,49}")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,40}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){1,19}")


@dataclass(frozen=True)
class CertificateName:
    """`issuer` is an RFC 4514 string as `cryptography` writes it."""

    issuer: str
    serial_number: int

    def as_json(self, sae_id: str) -> dict[str, str]:
        # A serial number is larger than what JSON numbers are safe for (RFC 8259 clause 6).
        return {"sae_id": sae_id, "issuer": self.issuer, "serial": str(self.serial_number)}


def certificate_in(body: bytes) -> CertificateName:
    """`{"issuer", "serial"}` or `{"certificate": PEM}`. Raises BadRequest naming the member."""
    members = object_in(body)
    if "certificate" in members:
        if not isinstance(members["certificate"], str):
            raise BadRequest("certificate: expected a string with one PEM certificate")
        return _named_by(members["certificate"])
    issuer, serial = string(members, "issuer", 2000), string(members, "serial", 64)
    try:
        written = x509.Name.from_rfc4514_string(issuer).rfc4514_string()
    except (ValueError, KeyError):
        raise BadRequest(f"issuer: expected an RFC 4514 name as CN=...,O=..., got {ascii(issuer[:80])}") from None
    return CertificateName(written, serial_number_in(serial))


def serial_number_in(text: str) -> int:
    """Digits alone are decimal. Raises BadRequest."""
    if _DECIMAL.fullmatch(text):
        number = int(text)
    elif _HEXADECIMAL.fullmatch(text):
        number = int(text.replace(":", ""), 16)
    else:
        raise BadRequest("serial: expected decimal digits, or hexadecimal as 0x1F or 1F:0A")
    if not 0 < number < _MAX_SERIAL_NUMBER:
        raise BadRequest("serial: expected a number above 0 of at most 20 octets")
    return number


def _named_by(pem: str) -> CertificateName:
    try:
        shown = Shown.by(x509.load_pem_x509_certificate(pem.encode()))
    except (ValueError, NoIdentity):
        raise BadRequest("certificate: expected one PEM certificate, -----BEGIN CERTIFICATE-----") from None
    if shown.urns:
        raise BadRequest(
            f"certificate: it names {ascii(shown.urns[0])} in its subject alternative names, and that counts: "
            "there is nothing to register"
        )
    return CertificateName(shown.issuer, shown.serial_number)


class Certificates:
    """What is registered, in Postgres and remembered in the process. Methods but `sae_of` raise Unavailable."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._reading = threading.Lock()
        self._known: dict[tuple[str, int], str] = {}
        self._read_at: float | None = None

    def register(self, sae_id: str, name: CertificateName) -> bool:
        """Whether it is new. Raises BadRequest for an SAE that is not registered, Conflict where it is another's."""
        check_sae_id(sae_id, "the SAE ID in the path")
        with self._database.transaction() as sql:
            sql.execute("SELECT 1 FROM sae WHERE sae_id = %s", (sae_id,))
            if sql.fetchone() is None:
                raise BadRequest(f"SAE {sae_id} is not registered at this KME: register it first, POST /v1/saes")
            sql.execute(
                "INSERT INTO sae_certificate (issuer, serial_number, sae_id) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (name.issuer, name.serial_number, sae_id),
            )
            is_new = bool(sql.rowcount)
            sql.execute(
                "SELECT sae_id FROM sae_certificate WHERE issuer = %s AND serial_number = %s",
                (name.issuer, name.serial_number),
            )
            holder = sql.fetchone()["sae_id"]
            if holder != sae_id:
                raise Conflict(f"the certificate is registered for SAE {holder}: remove it there first")
            if is_new:
                write_audit(sql, "certificate_registered", name.as_json(sae_id))
        self.refresh()
        return is_new

    def remove(self, sae_id: str, name: CertificateName) -> None:
        """Raises NotHere where it is not registered for this SAE, BadRequest for what is no SAE id."""
        check_sae_id(sae_id, "the SAE ID in the path")
        with self._database.transaction() as sql:
            sql.execute(
                "DELETE FROM sae_certificate WHERE issuer = %s AND serial_number = %s AND sae_id = %s",
                (name.issuer, name.serial_number, sae_id),
            )
            if not sql.rowcount:
                raise NotHere(f"no such certificate is registered for SAE {sae_id}")
            write_audit(sql, "certificate_removed", name.as_json(sae_id))
        self.refresh()

    def of(self, sae_id: str) -> list[CertificateName]:
        return sorted(
            (CertificateName(*key) for key, holder in self.refresh().items() if holder == sae_id),
            key=lambda one: (one.issuer, one.serial_number),
        )

    def sae_of(self, issuer: str, serial_number: int) -> str | None:
        """The SAE that a certificate was registered for. Raises Unavailable only where Postgres has never answered."""
        age = None if self._read_at is None else self._clock() - self._read_at
        if age is None:
            self.refresh()
        elif age > OLD_AFTER_S:
            self._refresh_if_it_answers()
        elif age > REFRESHED_EVERY_S and not self._reading.locked():
            threading.Thread(target=self._refresh_if_it_answers, name="certificates", daemon=True).start()
        return self._known.get((issuer, serial_number))

    def refresh(self) -> dict[tuple[str, int], str]:
        with self._reading:
            with self._database.transaction() as sql:
                sql.execute("SELECT issuer, serial_number, sae_id FROM sae_certificate")
                self._known = {(row["issuer"], int(row["serial_number"])): row["sae_id"] for row in sql.fetchall()}
            self._read_at = self._clock()
            return self._known

    def _refresh_if_it_answers(self) -> None:
        if not self._reading.acquire(blocking=False):
            return  # another thread is at it, or Postgres keeps it waiting: what is known holds meanwhile
        self._reading.release()
        try:
            self.refresh()
        except Unavailable as error:
            self._read_at = self._clock()
            log.warning("registered certificates are as they were: %s", error.message)
