"""What is between two KMEs and at their other ends: the wire, and the QKDEs that make the same blocks for both."""

from __future__ import annotations

import json as json_text
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mutual_tls.client import Reply, Unreachable

from protocol_faults import Message

BLOCK_BITS = 256 + 40 * 256


@dataclass
class Wire:
    """From one KME to the other; stands in for `mutual_tls.client.Peer`."""

    world: Any  # protocol_world.World
    sender: str
    receiver: str

    def request(self, method: str, path: str, *, params=None, json=None, octets=None, timeout_s=None) -> Reply:
        message = Message(self.sender, self.receiver, method, path, params, json)
        if method != "GET":
            self.world.sent.append(message)  # also where it does not arrive now: it may be on its way
            self.world.facts.sent(message, self.world.now_s)
        with self.world.strikes.at_call(self.sender, Unreachable) as fault:
            if fault and fault.kind == "twice":
                self.world.run(("deliver", message))
            return self.world.deliver(message)


@dataclass
class Qkde:
    """A site's QKDE: a round makes the same random block at both ends, which each end hands over later."""

    world: Any  # protocol_world.World
    kme_id: str

    def request(self, method: str, path: str, *, json: Any, timeout_s: float) -> Reply:
        world, block_id = self.world, UUID(json["block_id"])
        world.facts.blocks[block_id] = world.draw.randbytes(BLOCK_BITS // 8)
        world.owners[block_id] = self.kme_id
        world.hand_overs += [(kme_id, block_id) for kme_id in ("kme-a", "kme-b")]
        report = {"block_id": str(block_id), "link": "a-b", "owner": self.kme_id, "outcome": "key"}
        return Reply(200, json_text.dumps(report | {"secret_bits": BLOCK_BITS}).encode())
