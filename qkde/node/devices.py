"""The quantum link as the protocol's devices: Alice's source, Bob's detector. A call that was lost is made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mutual_tls.client import PeerError, Unreachable
from qkde.bb84.errors import DeviceUnavailable
from qkde.bb84.intensities import PulseIntensities
from qkde.link.client import LinkAnswerInvalid, LinkClient

ATTEMPT_COUNT = 3
MEASUREMENT_ATTEMPT_COUNT = 6  # a minute, for a measurement that takes long

T = TypeVar("T")


class LinkDevice:
    """The ports `QuantumSource` and `Detector` of `qkde.bb84.ports`, for one round. Raises DeviceUnavailable.

    The link answers a repeated call as it did the first time, so a lost answer loses no frame.
    """

    def __init__(self, link: LinkClient) -> None:
        self._link = link

    def prepare(
        self, frame: int, bits: np.ndarray, bases: np.ndarray, intensities: PulseIntensities | None = None
    ) -> None:
        _reach(lambda: self._link.prepare(frame, bits, bases, intensities))

    def close(self, frame: int) -> bool:
        return _reach(lambda: self._link.close(frame))

    def measure(self, frame: int, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _reach(lambda: self._link.measure(frame, bases), MEASUREMENT_ATTEMPT_COUNT)


def _reach(call: Callable[[], T], attempt_count: int = ATTEMPT_COUNT) -> T:
    lost: Unreachable | None = None
    for _ in range(attempt_count):
        try:
            return call()
        except Unreachable as error:
            lost = error
        except (PeerError, LinkAnswerInvalid) as error:
            raise DeviceUnavailable(str(error)) from error
    raise DeviceUnavailable(f"the quantum link: {lost}")
