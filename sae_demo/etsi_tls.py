"""TLS between an SAE and its KME (ETSI GS QKD 014 clauses 4 and 5.1): whom to trust, and what went wrong, in words."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool


def client_context(certificate: Path | str, key: Path | str, authorities: Path | str) -> ssl.SSLContext:
    """From three PEM files. Raises ValueError naming the argument that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # clause 4: TLS 1.2 or higher
    for name, path in {"certificate": certificate, "key": key, "authorities": authorities}.items():
        if not Path(path).is_file():
            raise ValueError(f"{name}: there is no file {path}")
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(f"certificate and key: {certificate} and {key} are not a PEM pair ({error.reason})") from error
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise ValueError(f"authorities: {authorities} has no PEM certificate ({error.reason})") from error
    return context


def stamps(files: tuple[Path | str, ...]) -> tuple[tuple[int, int, int], ...]:
    """Changes when one of the files is replaced or written, or is missing for a moment."""
    found = []
    for file in files:
        try:
            one = os.stat(file)
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((one.st_mtime_ns, one.st_size, one.st_ino))
    return tuple(found)


class _WrongKme(ssl.SSLError):
    """The server is verified, and another KME than the one named."""


class KmeAdapter(HTTPAdapter):
    """Connections with one TLS context, on which the KME ID is checked before anything is sent."""

    def __init__(self, context: ssl.SSLContext, kme_id: str | None) -> None:
        self._context = context
        self._urn = None if kme_id is None else f"urn:qkd:kme:{quote(kme_id, safe='')}"
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        urn = self._urn

        class Connection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                names = self.sock.getpeercert().get("subjectAltName", ()) if urn else ()
                found = [name for kind, name in names if kind == "URI" and name.startswith("urn:qkd:")]
                if urn and found != [urn]:
                    raise _WrongKme(f"its certificate is for {' and '.join(found) or 'no KME'}, expected {urn}")

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {"https": Pool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has the authorities; requests would add its own bundle of public ones."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}


def cause_of(error: requests.RequestException) -> str:
    """Why there was no answer, for a person who has to mend it."""
    links = list(_links(error, set()))
    for link in links:
        match link:
            case _WrongKme():
                return str(link.args[0])
            case ssl.SSLCertVerificationError():
                return f"the KME's certificate was not accepted: {link.verify_message}"
            case ssl.SSLError() if "ALERT" in (link.reason or ""):
                return f"the KME broke TLS off: {link.reason} (is this SAE's certificate from its authority?)"
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
                # A TLS 1.3 server judges the client's certificate after the client is done: this may be all it sees.
                return "the connection was cut off (is this SAE's certificate from the KME's authority?)"
            case ssl.SSLError():
                return f"TLS failed: {link.reason or 'no reason given'}"
            case ConnectionRefusedError():
                return "connection refused: nothing listens there"
            case socket.gaierror():
                return "there is no host of this name"
    return "no answer in time" if isinstance(error, requests.Timeout) else f"no answer ({type(links[-1]).__name__})"


def _links(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """An error and everything it was made from: requests and urllib3 wrap the cause several times."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        if isinstance(inner, BaseException):
            yield from _links(inner, seen)
