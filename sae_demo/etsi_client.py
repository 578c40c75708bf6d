"""A client of ETSI GS QKD 014 V1.1.1, written from the standard alone: what an SAE sends and what it accepts.

It needs `requests` (and the urllib3 that comes with it), and of this repository only its two other parts beside it,
`etsi_answers` and `etsi_tls`: it stands for any maker's SAE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from sae_demo.etsi_answers import (
    UUID_FORM,
    Key,
    KeyContainer,
    MalformedAnswer,
    Status,
    read_key_container,
    read_problem,
    read_status,
)
from sae_demo.etsi_tls import KmeAdapter, cause_of, client_context, stamps


class KmeRefused(Exception):
    """The KME answered with an error (table 13). `retry_after_s` is None where it did not say."""

    def __init__(
        self, status: int, message: str, details: Sequence[Mapping[str, Any]] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(f"the KME refused: {message} ({status})")
        self.status = status
        self.message = message
        self.details = tuple(details)
        self.retry_after_s = retry_after_s


class KmeUnreachable(Exception):
    """There was no answer. Whether the KME handed out a key is unknown, so that key is to be taken as burned."""


class Etsi014Client:
    """One SAE's view of its KME. Safe to share between threads.

    `kme_url` is `https://host:port`; the three paths are PEM files: this SAE's certificate and key, and the authorities
    that the KME's certificate must come from. With `kme_id`, the KME must also carry it in its certificate (clause
    5.1), as `urn:qkd:kme:<percent-encoded id>`. Raises ValueError for arguments that can't be used.

    `headers` gives more headers for a request, such as an id to follow it by.

    Keys are always asked for with POST, since intermediaries may repeat a GET, and nothing is ever retried: an answer
    that is lost has already consumed its keys (tables 5 and 7), and another try would get other keys or a refusal.
    """

    def __init__(
        self,
        kme_url: str,
        certificate: Path | str,
        key: Path | str,
        authorities: Path | str,
        kme_id: str | None = None,
        *,
        timeout_s: float = 30.0,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        url = urlsplit(kme_url)
        if url.scheme != "https" or not url.hostname or url.query or url.fragment:
            raise ValueError(f"kme_url: {kme_url!r} is not https://host:port (clause 5.1 allows HTTPS alone)")
        self._base = kme_url.rstrip("/") + "/api/v1/keys/"
        self._kme_id = kme_id
        self._timeout_s = timeout_s
        self._headers = headers
        self._files = (certificate, key, authorities)
        self._stamps = stamps(self._files)
        self._session = self._new_session()

    def status(self, slave: str) -> Status:
        """Get status (clause 5.2). Raises KmeRefused, KmeUnreachable, MalformedAnswer; so do the other two methods."""
        status = read_status(self._call("GET", slave, "status"))
        if status.slave_sae_id != slave:
            raise MalformedAnswer("status: slave_SAE_ID is not the one asked about")
        if self._kme_id is not None and status.source_kme_id != self._kme_id:
            raise MalformedAnswer(f"status: source_KME_ID is not {self._kme_id}")
        return status

    def enc_keys(
        self,
        slave: str,
        number: int = 1,
        size: int | None = None,
        additional_slaves: Sequence[str] = (),
        extension_mandatory: Sequence[Mapping[str, Any]] = (),
        extension_optional: Sequence[Mapping[str, Any]] = (),
    ) -> KeyContainer:
        """Get key (clause 5.3): `number` new keys of `size` bits (None: the KME's default) shared with the slaves."""
        if number < 1:
            raise ValueError(f"number: {number} is not a count of keys; expected 1 or more")
        if size is not None and (size < 8 or size % 8):
            raise ValueError(f"size: {size} bits is not a positive multiple of 8")
        # Table 10. What is at its default is left out: every member is optional.
        body: dict[str, Any] = {"number": number}
        if size is not None:
            body["size"] = size
        if additional_slaves:
            body["additional_slave_SAE_IDs"] = list(additional_slaves)
        if extension_mandatory:
            body["extension_mandatory"] = [dict(parameter) for parameter in extension_mandatory]
        if extension_optional:
            body["extension_optional"] = [dict(parameter) for parameter in extension_optional]
        container = read_key_container(self._call("POST", slave, "enc_keys", body))
        if len(container.keys) != number:
            raise MalformedAnswer(f"key container: {len(container.keys)} keys, asked for {number}")
        if size is not None and any(len(key.octets) * 8 != size for key in container.keys):
            raise MalformedAnswer(f"key container: a key is not of {size} bits")
        return container

    def dec_keys(self, master: str, key_ids: Iterable[str]) -> KeyContainer:
        """Get key with key IDs (clause 5.4): the keys that `master` got, in the order of `key_ids`. All or none."""
        wanted = [key_id.lower() for key_id in key_ids]
        if not wanted or len(set(wanted)) < len(wanted) or not all(map(UUID_FORM.fullmatch, wanted)):
            raise ValueError("key_ids: expected one or more UUIDs, each once")
        body = {"key_IDs": [{"key_ID": key_id} for key_id in wanted]}  # table 12
        container = read_key_container(self._call("POST", master, "dec_keys", body))
        by_id: dict[str, Key] = {key.key_id: key for key in container.keys}
        if by_id.keys() != set(wanted):
            raise MalformedAnswer("key container: not the keys asked for")
        # The standard does not say in which order the KME answers.
        return KeyContainer(tuple(by_id[key_id] for key_id in wanted), container.extension)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Etsi014Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _current_session(self) -> requests.Session:
        """A renewed certificate is shown on the next connection; calls under way end on theirs."""
        if (found := stamps(self._files)) != self._stamps:
            with contextlib.suppress(ValueError):  # half written: the certificate before is good for a while yet
                self._session, self._stamps = self._new_session(), found
        return self._session

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # neither a proxy nor .netrc has any business between an SAE and its KME
        session.mount("https://", KmeAdapter(client_context(*self._files), self._kme_id))
        return session

    def _call(self, verb: str, sae_id: str, method: str, body: dict[str, Any] | None = None) -> bytes:
        """Table 2: `/api/v1/keys/{SAE_ID}/{method}`."""
        if sae_id in ("", ".", ".."):  # HTTP software folds these away, encoded or not (RFC 3986, 5.2.4)
            raise ValueError(f"SAE id {sae_id!r} can't be part of a path")
        try:
            response = self._current_session().request(
                verb,
                f"{self._base}{quote(sae_id, safe='')}/{method}",
                json=body,
                headers={"Accept": "application/json", **self._headers()},
                timeout=(min(5.0, self._timeout_s), self._timeout_s),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            cause = cause_of(error)
        else:
            return _success(response)
        # Outside the except block: an answer that broke off hangs on the error, and may hold key material.
        raise KmeUnreachable(f"{self._base.removesuffix('/api/v1/keys/')}: {cause}")


def _success(response: requests.Response) -> bytes:
    if response.status_code >= 300:
        problem = read_problem(response.content)
        after = response.headers.get("Retry-After", "")
        # The other form of Retry-After is a date, which would need a clock that agrees with the KME's.
        retry_after_s = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else None
        raise KmeRefused(response.status_code, problem.message, problem.details, retry_after_s)
    if response.status_code != 200:
        raise MalformedAnswer(f"status code {response.status_code}: the standard knows 200 alone for success")
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise MalformedAnswer("Content-Type is not application/json (clause 5.1)")
    return response.content
