"""What a test holds of a network: its KMEs, its SAEs, its links, the faults it has switched on."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import requests

from qkd_lab.operator_calls import Operator


@dataclass(frozen=True)
class Kme:
    """`url` is what an ETSI GS QKD 014 client is pointed at: `https://127.0.0.1:<port>`."""

    id: str
    url: str


@dataclass(frozen=True)
class Sae:
    """An SAE's credentials as PEM files: `cert`, `key`, and in `ca` what its KME's certificate is verified by."""

    id: str
    kme: Kme
    cert: str
    key: str
    ca: str

    def session(self) -> requests.Session:
        """A session that is this SAE; close it, or use it in a `with`."""
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment is not for a lab on loopback
        session.cert = (self.cert, self.key)
        session.verify = self.ca
        return session


@dataclass(frozen=True)
class Link:
    """A quantum link's physics, and Eve."""

    name: str
    _operator: Operator = field(repr=False)
    _start: dict[str, Any] = field(repr=False)

    def show(self) -> dict[str, Any]:
        return self._operator.call(f"qlink-{self.name}", "GET", "/v1/physics")

    def set(self, **physics: Any) -> dict[str, Any]:
        """By the names of `[links.physics]` in docs/configuration.md, as `depolarizing=0.05` or
        `eve="intercept-resend:1"`; from the next round on. Raises LabError naming what can't be."""
        return self._operator.call(f"qlink-{self.name}", "PATCH", "/v1/physics", physics)

    def reset(self) -> dict[str, Any]:
        """The physics the network started with."""
        return self.set(**self._start)


@dataclass(frozen=True)
class Fault:
    """Faults at one KME; as a context manager they end with the block."""

    kme: str
    knobs: dict[str, Any]
    _operator: Operator = field(repr=False)

    def clear(self) -> None:
        """No faults at this KME from here on."""
        self._operator.call(self.kme, "PUT", "/v1/faults", {})

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()
