"""Messages between the demo SAEs, so that keys are used and rounds follow each other while somebody watches."""

from __future__ import annotations

import logging
import threading
import time

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import OperatorCalls

log = logging.getLogger(__name__)

EVERY_S = 0.5
LASTS_S = 1800.0  # nobody watches longer than that
TEXT = "one-time pad " * 78  # 1,014 bytes: 33 keys of 256 bits


class Traffic:
    """A one-time pad message in each direction between demo SAEs that are connected, twice a second, while it is on."""

    def __init__(self, network: OperatorCalls) -> None:
        self._network = network
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self._until

    def switch(self, on: bool) -> None:
        self._until = time.monotonic() + LASTS_S if on else 0.0

    def run(self, stopping: threading.Event) -> None:
        demo = {process.name for process in self._network.processes if process.kind == "sae"}
        pairs = [(one.master, one.slave) for one in self._network.topology.connections]
        pairs = [pair for pair in pairs if demo.issuperset(pair)]
        while not stopping.wait(EVERY_S):
            for sender, receiver in pairs if self.is_on else ():
                order = {"to": receiver, "text": TEXT, "mode": "one-time-pad"}
                try:
                    self._network.call(sender, "POST", "/v1/messages", order, 10.0)
                except LabError as error:
                    log.debug("%s sends nothing: %s", sender, error)  # an empty pool is what Eve's visit looks like
