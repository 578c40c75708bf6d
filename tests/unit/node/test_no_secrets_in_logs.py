"""A round through both QKDEs' own code and the link's: nothing of what was drawn, sifted or distilled is in a log."""

import logging
import os
import time
import uuid
from collections import deque

import numpy as np
from app_peer import AppPeer

from mutual_tls.client import Reply
from mutual_tls.identity import Identity
from qkde.bb84.pads import pre_shared_key
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import OsRandomness
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import qkd_app
from qkde.node.ends import AliceEnd, BobEnd, LinkEnd
from qkde.node.entity import QkdEntity
from qkde.node.handover import Handover
from qkde.node.pads import FilePads
from qkde.node.spool import Spool
from qkde.node.web import classical_app

ALICE, BOB = Identity("qkde", "qkde-a"), Identity("qkde", "qkde-b")
WINDOW_BYTES = 6  # 2^-48 for each place by chance


class Recorded(OsRandomness):
    """The operating system's randomness, and all that was drawn of it."""

    def __init__(self, drawn):
        super().__init__()
        self._drawn = drawn

    def bits(self, count):
        bits = super().bits(count)
        self._drawn.append(np.packbits(bits).tobytes())
        return bits


class Kme:
    def __init__(self, taken):
        self._taken = taken

    def request(self, method, path, *, params, octets):
        self._taken.append(octets)
        return Reply(204, b"")


def test_a_round_logs_nothing_of_its_bits(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    drawn, blocks, psk = [], [], pre_shared_key(os.urandom)
    quantum = qkd_app(QuantumLink("a-b", LinkPhysics(loss_db=0.5, depolarizing=0.02), seed=1), ALICE, BOB)
    parameters = RoundParameters(pulses_per_frame=200_000, qber_tolerance=0.05, key_basis_probability=0.8)

    def entity(me, other, role, owners, other_app):
        spool = Spool(tmp_path / me.id, bytes(32))
        end = LinkEnd(
            link="a-b",
            owners=owners,
            other_qkde=AppPeer(other_app, me, other),
            quantum=AppPeer(quantum, me, Identity("qlink", "qlink-a-b")),
            parameters=parameters,
            randomness=lambda _owner: Recorded(drawn),
            pads=FilePads(tmp_path / me.id, bytes(32), "a-b", psk),
            clock=time.monotonic,
            spool=spool,
            handover=Handover(spool, Kme(blocks)),
            reports=deque(),
        )
        return QkdEntity(me.id, {"a-b": role(end)}, end.handover, end.reports), end

    alice, alice_end = entity(ALICE, BOB, AliceEnd, ("kme-a", "kme-b"), None)
    bob, bob_end = entity(BOB, ALICE, BobEnd, ("kme-b", "kme-a"), classical_app(alice))
    block_id = str(uuid.uuid4())
    while (report := bob.order("a-b", block_id, "kme-b")) is None:
        pass  # it still runs
    for end in (alice_end, bob_end):
        assert end.handover.offer_all()
    assert report["outcome"] == "key", report["abort_reason"]
    assert len(blocks) == 2 and blocks[0] == blocks[1]

    # The first 8 bytes of a pre-shared key are its public name.
    shown = "".join([caplog.text, *capfd.readouterr(), repr([*alice.reports, *bob.reports, alice_end, bob_end])])
    assert "bits for kme-b" in shown
    windows = (secret[i : i + WINDOW_BYTES].hex() for secret in (*drawn, *blocks, psk[8:]) for i in range(0, 600, 2))
    leaked = [window for window in windows if len(window) == 2 * WINDOW_BYTES and window in shown.replace("\\x", "")]
    assert not leaked
