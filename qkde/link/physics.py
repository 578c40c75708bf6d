"""What nature does on a link: loss, noise and Eve. Parameters only; `qkde.link.channel` lets them act."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from qkde.link.eve import Attack, NoEve, attack_from_text


class ImpossiblePhysics(ValueError):
    """A setting no link can have; the message names it, its range and what to do."""


@dataclass(frozen=True, kw_only=True)
class LinkPhysics:
    """The settings of a link. Raises ImpossiblePhysics outside their ranges.

    loss_db: total loss from Alice to a click at Bob, 0 or more; a photon arrives with probability 10^(-loss_db/10).
    depolarizing: probability p that a qubit is replaced by the maximally mixed state, 0 to 1; adds p/2 to the QBER.
    eve: who listens.
    """

    loss_db: float = 0.0
    depolarizing: float = 0.0
    eve: Attack = NoEve()

    def __post_init__(self) -> None:
        _check("loss_db", self.loss_db, sys.float_info.max, "a loss in dB of 0 or more")
        _check("depolarizing", self.depolarizing, 1.0, "a probability from 0 to 1")

    @property
    def transmittance(self) -> float:
        """The probability that a photon arrives."""
        return 10 ** (-self.loss_db / 10)

    def changed(self, /, **settings: Any) -> LinkPhysics:
        """A copy with some settings replaced; `eve` may be an attack or its text. Raises ImpossiblePhysics."""
        names = [field.name for field in fields(self)]
        if unknown := sorted(set(settings) - set(names)):
            raise ImpossiblePhysics(f"a link has no setting {', '.join(unknown)}: expected some of {', '.join(names)}")
        if "eve" in settings:
            settings["eve"] = _attack(settings["eve"])
        return replace(self, **settings)

    def settings(self) -> dict[str, float | str]:
        """The settings as plain values: `changed(**settings())` gives them back."""
        return {"loss_db": self.loss_db, "depolarizing": self.depolarizing, "eve": str(self.eve)}


def _check(name: str, value: Any, most: float, expected: str) -> None:
    # bool is a Real to Python; NaN fails every comparison and so the range check.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= most:
        raise ImpossiblePhysics(f"{name} is {value!r}: expected {expected}")


def _attack(eve: Any) -> Attack:
    if not isinstance(eve, str):
        if callable(getattr(eve, "on", None)):
            return eve
        raise ImpossiblePhysics(f"eve is {eve!r}: expected text such as none or intercept-resend:0.3")
    try:
        return attack_from_text(eve)
    except ValueError as error:
        raise ImpossiblePhysics(f"eve: {error}") from error
