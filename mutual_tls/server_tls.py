"""A listener's TLS while it runs: a renewed certificate and a new revocation list count without a restart."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mutual_tls.contexts import CredentialError, Credentials, in_memory, refuse_weak, server_context
from mutual_tls.revocation import RevocationError, Revocations, Stamp, stamp_of

log = logging.getLogger(__name__)

# OpenSSL refuses everybody once a list has expired, or before its time (another clock, many lists in a second): then
# its check is left out, and ours goes on.
EXPIRY_MARGIN = timedelta(seconds=30)


class ServerTls:
    """One listener's context, changed in place: it stays the same object, so its resumption tickets stay good, in every
    worker that was forked from where it was made.

    Revocation is looked at twice. OpenSSL's check in the handshake tells the client the cause by a TLS alert;
    `refusal`, asked for each request, also holds for resumed sessions and for connections that were open before.
    """

    def __init__(self, name: str, credentials: Credentials, callers: Path) -> None:
        self._credentials = credentials
        self._callers = callers
        # An SSL object copies its certificate from the context; with this lock it copies the old one or the new one.
        self._changing = threading.Lock()
        self._fault: str | None = None
        self.context = server_context(credentials, callers)
        refuse_weak(self.context, name)
        self._stamp = self._stamped()
        if credentials.revocations is None:
            raise CredentialError(f"listener {name}: no folder of revocation lists is given")
        try:
            self._revocations = Revocations(credentials.revocations, callers)
        except RevocationError as error:
            raise CredentialError(f"listener {name}: {error}") from None
        self._use_lists()

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The server's end of a connection, before its handshake."""
        with self._changing:
            return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def refusal(self, der: bytes) -> str | None:
        """Why whoever shows this certificate is not answered, or None."""
        return "the caller's certificate was revoked" if self._revocations.is_revoked(der) else None

    def refresh(self) -> None:
        """Takes what has changed on disk; what can't be used leaves all as it is. For one thread of each worker."""
        if self._revocations.refresh():
            self._use_lists()
        self._check_lists_in_handshake()
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._use_certificate()
                self._stamp = stamp
                log.warning("%s was renewed", self._credentials.certificate)
            self._fault = None
        except (OSError, CredentialError) as error:
            fault = f"the renewed certificate can't be used, the one before is: {error}"
            if self._fault != fault:
                log.error("%s", fault)
            self._fault = fault

    def fault(self) -> str | None:
        """What keeps the listener from being up to date, in words, or None."""
        return self._fault or self._revocations.fault()

    def _use_lists(self) -> None:
        # OpenSSL takes the newest of the lists it was given (by thisUpdate), so the old ones may stay.
        for one in self._revocations.lists.values():
            with in_memory(one.pem) as path, self._changing:
                self.context.load_verify_locations(path)
        self._check_lists_in_handshake()

    def _check_lists_in_handshake(self) -> None:
        now, lists = datetime.now(UTC), self._revocations.lists.values()
        checked = self.context.verify_flags & ~ssl.VERIFY_CRL_CHECK_LEAF
        if all(one.this_update <= now and now + EXPIRY_MARGIN < one.next_update for one in lists):
            checked |= ssl.VERIFY_CRL_CHECK_LEAF
        if checked != self.context.verify_flags:
            with self._changing:
                self.context.verify_flags = checked

    def _use_certificate(self) -> None:
        """All or nothing: a key that does not match would leave the context without one."""
        pem = self._credentials.certificate.read_bytes() + self._credentials.key.read_bytes()
        with in_memory(pem) as path:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
            except ssl.SSLError as error:
                raise CredentialError(f"{self._credentials.certificate} and its key: {error.reason}") from None
            with self._changing:
                self.context.load_cert_chain(path)

    def _stamped(self) -> tuple[Stamp, Stamp]:
        return stamp_of(self._credentials.certificate), stamp_of(self._credentials.key)
