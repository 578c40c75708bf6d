"""Cascade (Brassard and Salvail 1994), Alice's side: she only tells parities. Bob's is in `reconciliation`.

Passes over the whole frame stay open to the end: an error found later makes a block of an earlier pass odd again.
Half-frame passes close the frame: the parity of a random half is told, again and again, until `closing_passes` of
them in a row agree. Errors that remain show in each of them with probability 1/2, so that about one frame in
2^closing_passes leaves Cascade wrong (verification finds it); without these passes it would be a quarter of the
frames of 10^4 bits of the `efficient` variant at 2 %.
"""

import numpy as np

from qkde.bb84.bit_orders import FrameOrder, HalfFrame, ShuffledOrder
from qkde.bb84.bits import pack
from qkde.bb84.errors import MalformedMessage, ProtocolViolation
from qkde.bb84.messages import AskParities, Parities, StartPass
from qkde.bb84.parity_tree import PassParities

SEED_BYTES = 16


class ParityTeller:
    """Alice in Cascade: answers every question about her fixed string and counts the parities she told."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits
        self._passes: dict[int, PassParities] = {}
        self._half_frame: tuple[int, HalfFrame] | None = None
        self._next_pass = 0
        self.disclosed_parities = 0
        self.message_count = 0

    def start_pass(self, message: StartPass) -> Parities:
        """Parities of all blocks of a new pass, in order; of a half-frame pass the parity of its half."""
        if message.pass_index != self._next_pass:
            raise ProtocolViolation(f"pass {message.pass_index} was started where pass {self._next_pass} is next")
        if not 1 <= message.block_count <= len(self._bits) or len(message.seed) != SEED_BYTES:
            raise MalformedMessage("a pass needs 1 block at least, no more than bits, and a seed of 16 bytes")
        if message.half_frame:
            half = HalfFrame(len(self._bits), message.seed)
            answer = np.array([half.parity(self._bits)], np.uint8)
            self._half_frame = message.pass_index, half
        else:
            sequence = frame_order(message, len(self._bits)).arranged(self._bits)
            opened = self._passes[message.pass_index] = PassParities(sequence, message.block_count)
            answer = opened.block_parities()
        self._next_pass += 1
        return self._tell(answer)

    def ask_parities(self, message: AskParities) -> Parities:
        """Parities of the nodes asked for, in their order."""
        opened = self._pass(message.pass_index)
        if len(message.nodes) % 4:
            raise MalformedMessage("nodes are 4 bytes each")
        nodes = np.frombuffer(message.nodes, "<u4").astype(np.int64)
        if not len(nodes) or nodes.min() < 1 or nodes.max() >= 2 * opened.leaf_count:
            raise MalformedMessage(f"node numbers of this pass go from 1 to {2 * opened.leaf_count - 1}")
        return self._tell(opened.parities(nodes))

    def _pass(self, pass_index: int) -> PassParities:
        if self._half_frame and self._half_frame[0] == pass_index and pass_index not in self._passes:
            self._passes[pass_index] = PassParities(self._bits[self._half_frame[1].members], 1)
        if pass_index not in self._passes:
            raise ProtocolViolation(f"parities of pass {pass_index}, which is not open")
        return self._passes[pass_index]

    def _tell(self, parities: np.ndarray) -> Parities:
        self.disclosed_parities += len(parities)
        self.message_count += 1
        return Parities(pack(parities))


def frame_order(message: StartPass, size: int) -> FrameOrder | ShuffledOrder:
    """The first pass leaves the bits where they are: their errors are in random places already."""
    return FrameOrder() if message.pass_index == 0 else ShuffledOrder(size, message.seed)
