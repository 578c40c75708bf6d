"""The faults a KME can be told to make at its SAE listener, so that a client's author sees what his client does.

All are off by default (docs/faults.md). `kme.web.faults` makes them.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kme.errors import BadRequest

MAX_DELAY_S = 60.0  # a delayed answer holds one of the listener's threads
_MOST = {"delay_s": MAX_DELAY_S}


@dataclass(frozen=True)
class Faults:
    """The knobs. A percentage is of the requests it is about, each for itself."""

    refuse_percentage: float = 0.0  # of all requests: answered with 503, before anything was done
    delay_s: float = 0.0  # all answers: so much later than they are ready
    drop_after_delivery_percentage: float = 0.0  # of deliveries: the connection ends instead of the answer
    duplicate_reply_percentage: float = 0.0  # of all answers: their octets are sent twice
    empty_pools: bool = False  # no key can be had as a master: 503, too few keys

    @property
    def on(self) -> dict[str, Any]:
        """The knobs that are not off."""
        return {name: value for name, value in asdict(self).items() if value}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.on.items()) or "none"


NO_FAULTS = Faults()


def faults_of(members: Mapping[str, Any]) -> Faults:
    """From the knobs by name; those that are not there are off. Raises BadRequest naming the knob and its range."""
    known = {knob.name for knob in fields(Faults)}
    for name, value in members.items():
        if name not in known:
            raise BadRequest(f"no fault knob {name}: expected one of {', '.join(sorted(known))}")
        if name == "empty_pools":
            if not isinstance(value, bool):
                raise BadRequest(f"{name}: expected true or false")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST.get(name, 100.0):
            raise BadRequest(f"{name}: expected a number in 0..{_MOST.get(name, 100.0):g}")
    return Faults(**{name: value if name == "empty_pools" else float(value) for name, value in members.items()})


class FaultKnobs:
    """The knobs of one KME as they are set now: the same in all workers that are forked after they were made."""

    def __init__(self, faults: Faults | None = None) -> None:
        # Memory of all workers, not a file: a KME that is started anew makes the faults that its settings say.
        self._values = memoryview(mmap.mmap(-1, 8 * len(fields(Faults)))).cast("d")
        self.set(faults or Faults())

    @property
    def now(self) -> Faults:
        found = self._values.tolist()
        if not any(found):
            return NO_FAULTS
        values = dict(zip((knob.name for knob in fields(Faults)), found, strict=True))
        return Faults(**values | {"empty_pools": bool(values["empty_pools"])})

    def set(self, faults: Faults) -> None:
        for index, value in enumerate(asdict(faults).values()):
            self._values[index] = value
