"""What a test holds of a network: its KMEs, its SAEs, its links, the faults it has switched on."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any

import requests

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator


def sendable(values: dict[str, Any]) -> dict[str, Any]:
    """The values, which another process is told in JSON. Raises LabError naming the one that can't be said there."""
    for name, value in values.items():
        if not isinstance(value, str | bool | int | float) or value != value or value in (inf, -inf):
            raise LabError(f"{name}: expected a text, a number, True or False, got {value!r}")
    return values


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
        return self._operator.call(f"qlink-{self.name}", "PATCH", "/v1/physics", sendable(physics))

    def reset(self) -> dict[str, Any]:
        """The physics the network started with."""
        return self.set(**self._start)


class Faults:
    """Those that are switched on at one KME: they add up, and where two say the same knob, the later one counts."""

    def __init__(self, kme_id: str, operator: Operator) -> None:
        self.kme_id = kme_id
        self._operator = operator
        self._on: list[Fault] = []

    def switch_on(self, knobs: dict[str, Any]) -> Fault:
        """Beside those that are on; without any knobs, all others are off."""
        fault = Fault(self.kme_id, sendable(knobs), self)
        self._tell([*(self._on if knobs else []), fault])
        return fault

    def switch_off(self, fault: Fault) -> None:
        self._tell([one for one in self._on if one is not fault])

    def _tell(self, on: list[Fault]) -> None:
        knobs = {name: value for fault in on for name, value in fault.knobs.items()}
        self._operator.call(self.kme_id, "PUT", "/v1/faults", knobs)
        self._on = on


@dataclass(frozen=True, eq=False)
class Fault:
    """Faults at one KME; as a context manager they end with the block."""

    kme: str
    knobs: dict[str, Any]
    _among: Faults = field(repr=False)

    def clear(self) -> None:
        """They are off from here on; others that were switched on at this KME stay."""
        self._among.switch_off(self)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()
