"""Both QKDEs of a link and the link's own application, joined without a network."""

import time
import uuid
from collections import deque
from dataclasses import asdict, replace

from app_peer import AppPeer

from mutual_tls.client import Reply
from mutual_tls.identity import Identity
from qkde.bb84.pads import pre_shared_key
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import SeededRandomness
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import qkd_app
from qkde.node.ends import AliceEnd, BobEnd, LinkEnd
from qkde.node.entity import QkdEntity
from qkde.node.handover import Handover
from qkde.node.pads import FilePads
from qkde.node.spool import Spool
from qkde.node.web import classical_app

ALICE, BOB, QLINK = Identity("qkde", "qkde-a"), Identity("qkde", "qkde-b"), Identity("qlink", "qlink-a-b")


class Tapped(AppPeer):
    """`on_the_way(octets) -> octets` may alter what is answered."""

    def __init__(self, app, caller, identity, on_the_way):
        super().__init__(app, caller, identity)
        self._on_the_way = on_the_way

    def request(self, method, path, **options):
        reply = super().request(method, path, **options)
        return replace(reply, octets=self._on_the_way(reply.octets))


class Kme:
    """Takes every block."""

    def __init__(self):
        self.blocks = []

    def request(self, method, path, *, params, octets):
        self.blocks.append(octets)
        return Reply(204, b"")


class TwoQkdes:
    """`run()` orders a block at Bob's; `alice` and `bob` are the entities, `kmes` theirs in this order."""

    def __init__(self, folder, parameters, physics, seed=1, on_the_way=lambda octets: octets):
        self.link = QuantumLink("a-b", LinkPhysics().changed(**physics), seed=seed)
        self.quantum = qkd_app(self.link, ALICE, BOB)
        self.kmes = Kme(), Kme()
        self._folder, self._parameters = folder, RoundParameters(**parameters)
        self._shared = pre_shared_key(lambda count: bytes(range(256)) * (count // 256 + 1))
        self._shared = self._shared[: len(pre_shared_key(bytes))]
        self.alice = self._entity(ALICE, BOB, AliceEnd, ("kme-a", "kme-b"), None, self.kmes[0], seed)
        classical = Tapped(classical_app(self.alice), BOB, ALICE, on_the_way)
        self.bob = self._entity(BOB, ALICE, BobEnd, ("kme-b", "kme-a"), classical, self.kmes[1], seed + 1000)

    def run(self):
        """Bob's report; blocks that were made are handed over."""
        while (report := self.bob.order("a-b", str(uuid.UUID(int=7)), "kme-b")) is None:
            pass  # it still runs
        for entity in (self.alice, self.bob):
            assert entity.bob_or_alice.handover.offer_all()
        return report

    def _entity(self, me, other, role, owners, classical, kme, seed):
        folder = self._folder / me.id
        spool, randomness = Spool(folder, bytes(32)), SeededRandomness(seed)
        end = LinkEnd(
            link="a-b",
            owners=owners,
            other_qkde=classical or AppPeer(None, me, other),
            quantum=AppPeer(self.quantum, me, QLINK),
            parameters=self._parameters,
            randomness=lambda _owner: randomness,
            pads=FilePads(folder, bytes(32), "a-b", self._shared),
            clock=time.monotonic,
            spool=spool,
            handover=Handover(spool, kme),
            reports=deque(),
        )
        entity = QkdEntity(me.id, {"a-b": role(end)}, end.handover, end.reports)
        entity.bob_or_alice = end
        return entity


def parameters_of(**changes):
    """Strong light, so that few pulses make a key."""
    return {**asdict(RoundParameters()), **WEAK, **changes}


WEAK = {
    "pulses_per_frame": 300_000, "frame_count": 2, "intensities": (0.6, 0.2, 0.0),
    "intensity_probabilities": (0.5, 0.4, 0.1), "key_basis_probability": 0.7, "epsilon_secrecy": 1e-4,
    "epsilon_correctness": 1e-9, "verification_bits": 61,
}  # fmt: skip
