"""An HTTPS client for one other process: it verifies who answers, and says in words why it could not."""

from __future__ import annotations

import contextlib
import json as json_text
import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.retry import Retry

from mutual_tls import request_id
from mutual_tls.contexts import CredentialError, Credentials, client_context
from mutual_tls.identity import Identity, NoIdentity, identity_of_der
from mutual_tls.revocation import RevocationError, Revocations, stamp_of

OCTETS = "application/octet-stream"
# A connection that was cut off while it was idle, and without a word, would cost the next call its whole time.
REUSED_WITHIN_S = 2.0
REFRESHED_EVERY_S = 1.0  # certificate and revocation lists, looked at when a call is made

log = logging.getLogger(__name__)


class PeerError(Exception):
    """A call to another process did not succeed."""


class Unreachable(PeerError):
    """No answer, so the outcome is unknown: not listening, wrong certificate, timed out, cut off."""


class Refused(PeerError):
    """The other process answered with an error. `body`: the members of its JSON object, none where it is no such."""

    def __init__(
        self,
        status: int,
        message: str,
        details: list[dict[str, Any]] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status
        self.message = message
        self.details = details or []
        self.body = body or {}


class NotUnderstood(PeerError):
    """The other process answered with success, and with what is not JSON: what it did is unknown."""


@dataclass(frozen=True)
class Reply:
    """A successful answer. Its octets may be key material, so they are not shown."""

    status: int
    octets: bytes = field(repr=False)
    sender: Identity | None = None

    @property
    def json(self) -> Any:
        """None where there is no body. Raises NotUnderstood."""
        try:
            return json_text.loads(self.octets) if self.octets else None
        except (ValueError, RecursionError):  # whose text would quote the answer
            sender = self.sender or "the other process"
            raise NotUnderstood(f"{sender} answered with status {self.status} and what is not JSON") from None


class Peer:
    """One process, reached at `https://address`, that must prove to be `identity`. Safe to share between threads.

    When this process's certificate is renewed or a revocation list changes, the next call opens a new connection, with
    the new certificate and the new list; calls under way end on the old one.
    """

    def __init__(
        self,
        address: str,
        identity: Identity,
        credentials: Credentials,
        *,
        timeout_s: float = 10.0,
        pool_size: int = 16,
    ) -> None:
        self.address = address
        self.identity = identity
        self.timeout_s = timeout_s
        self._credentials = credentials
        self._pool_size = pool_size
        self._refreshing = threading.Lock()
        self._revocations: Revocations | None = None
        if credentials.revocations is not None and credentials.authorities.is_file():
            try:
                self._revocations = Revocations(credentials.revocations, credentials.authorities)
            except RevocationError as error:
                raise CredentialError(str(error)) from None
        self._context = client_context(credentials)
        self._stamp, self._looked_at = self._stamped(), time.monotonic()
        self._session = self._new_session()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        octets: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """One call. Raises Refused for an answer that is an error, Unreachable where there is none."""
        try:
            response = self._current_session().request(
                method,
                f"https://{self.address}{path}",
                params=params,
                data=octets if json is None else json_text.dumps(json, separators=(",", ":")),
                headers={"Content-Type": OCTETS if json is None else "application/json"} | request_id.headers(),
                timeout=(min(5.0, self.timeout_s), timeout_s or self.timeout_s),
                allow_redirects=False,
            )
        except (requests.RequestException, NoIdentity) as error:
            raise Unreachable(f"{self.identity} at {self.address}: {cause_of(error)}") from error
        if response.status_code >= 300:
            message, details, body = _problem(response)
            raise Refused(response.status_code, f"{self.identity}: {message}", details, body)
        return Reply(response.status_code, response.content, self.identity)

    def check(self, path: str = "/", timeout_s: float = 3.0) -> None:
        """Raises Unreachable unless the other process answers, whatever it says."""
        with contextlib.suppress(Refused):
            self.request("GET", path, timeout_s=timeout_s)

    def close(self) -> None:
        self._session.close()

    def _current_session(self) -> requests.Session:
        if time.monotonic() - self._looked_at > REFRESHED_EVERY_S:
            with self._refreshing:  # the others wait: what they would use may have been revoked meanwhile
                if time.monotonic() - self._looked_at > REFRESHED_EVERY_S:
                    self._refresh()
                    self._looked_at = time.monotonic()
        return self._session

    def _refresh(self) -> None:
        changed = self._revocations is not None and self._revocations.refresh()
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._context, self._stamp, changed = client_context(self._credentials), stamp, True
        except (OSError, CredentialError) as error:
            log.warning("the certificate that was renewed can't be used yet, the one before is: %s", error)
        if changed:
            # The old session is not closed: others may be using it. Its connections end with it.
            self._session = self._new_session()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no proxy and no .netrc between the lab's processes
        session.mount("https://", _IdentityAdapter(self.identity, self._context, self._pool_size, self._revocations))
        return session

    def _stamped(self) -> tuple[Any, ...]:
        return tuple(stamp_of(path) for path in (self._credentials.certificate, self._credentials.key))


def cause_of(error: BaseException) -> str:
    """The innermost cause of a failed connection, in words a user can act on."""
    chain: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and link not in chain:
            chain.append(link)
            todo += [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]
    for link in chain:
        if isinstance(link, NoIdentity):
            return str(link)
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted: {link.verify_message}"
    for link in chain:
        if isinstance(link, ssl.SSLError):
            refused = "it does not accept this client's certificate" if "ALERT" in str(link.reason) else "TLS failed"
            return f"{refused}: {link.reason or link}"
        if isinstance(link, ConnectionRefusedError):
            return "connection refused: nothing listens there"
        if isinstance(link, ConnectionResetError | BrokenPipeError):
            return "the connection was cut off (is this client's certificate from the right authority?)"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return str(chain[-1]) or type(error).__name__


def _problem(response: requests.Response) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    try:
        body = response.json()
        return str(body["message"]), list(body.get("details") or []), body
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.reason or "an error without a message", [], {}


class _IdentityAdapter(HTTPAdapter):
    """Opens connections with the given TLS context and checks the server's URN on each, before anything is sent."""

    def __init__(
        self, identity: Identity, context: ssl.SSLContext, pool_size: int, revocations: Revocations | None = None
    ) -> None:
        self._identity = identity
        self._revocations = revocations
        self._context = context
        # A request is never repeated by itself: whether a repeat is harmless is the protocol's business.
        super().__init__(pool_maxsize=pool_size, max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        identity, revocations = self._identity, self._revocations

        class Connection(HTTPSConnection):
            answered_s = 0.0

            def connect(self) -> None:
                super().connect()
                check_server(self.sock, identity, revocations)  # type: ignore[arg-type]

            def getresponse(self) -> Any:
                response = super().getresponse()
                self.answered_s = time.monotonic()
                return response

            @property
            def is_connected(self) -> bool:
                """The pool asks before it uses one again."""
                return time.monotonic() - self.answered_s < REUSED_WITHIN_S and super().is_connected

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"https": Pool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context knows its authorities; requests' own bundle must not be added to them."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}


def check_server(sock: ssl.SSLSocket, expected: Identity, revocations: Revocations | None = None) -> None:
    """Raises NoIdentity unless the server's verified certificate carries `expected` and was not revoked."""
    shown = sock.getpeercert(binary_form=True) or b""
    if revocations is not None and revocations.is_revoked(shown):
        sock.close()
        raise NoIdentity("its certificate was revoked")
    found = identity_of_der(shown)
    if found != expected:
        sock.close()
        raise NoIdentity(f"it is {found}, expected {expected}")
