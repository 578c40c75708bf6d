"""A QKDE's calls to its quantum link over connections that are dead, without anybody having been told."""

from __future__ import annotations

from uuid import uuid4

import numpy as np
import pytest

from mutual_tls.client import Reply, Unreachable
from qkde.bb84.errors import DeviceUnavailable
from qkde.link.client import LinkClient
from qkde.node.devices import LinkDevice
from services.qkde_node import QKDE_TIMEOUT_S, QLINK_TIMEOUT_S

BASES = np.zeros(8, np.uint8)


class Dead:
    """The first connections are; `waited_s`: for how long each was waited for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.waited_s: list[float] = []

    def request(self, method, path, *, params=None, octets=None, timeout_s=None) -> Reply:
        if len(self.waited_s) < self._count:
            self.waited_s.append(timeout_s or QLINK_TIMEOUT_S)
            raise Unreachable("no answer in time")
        return Reply(200, b"\0\0")


def device(dead: Dead) -> LinkDevice:
    return LinkDevice(LinkClient(dead, uuid4()))


def test_one_dead_connection_costs_a_round_no_more_than_others_wait_for():
    measuring, preparing = Dead(1), Dead(1)
    device(measuring).measure(0, BASES)
    device(preparing).prepare(0, BASES, BASES)
    assert measuring.waited_s[0] <= 10
    assert preparing.waited_s[0] < QKDE_TIMEOUT_S  # for which Bob waits for Alice


def test_a_long_measurement_is_waited_for_a_minute_in_all():
    slow, hanging = Dead(5), Dead(100)
    assert device(slow).measure(0, BASES)[0].size == BASES.size
    with pytest.raises(DeviceUnavailable):
        device(hanging).measure(0, BASES)
    assert sum(hanging.waited_s) == 60
