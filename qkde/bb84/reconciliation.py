"""Bob's side of Cascade, vectorised: all odd blocks of a pass are bisected together, one message per level.

For each open pass Bob keeps the whole tree of parities: which nodes he knows Alice's parity of, and whether his own
differs now. A parity once learnt is never asked for again, and the second half of a known block is never asked for at
all.
"""

from collections.abc import Callable

import numpy as np

from qkde.bb84.bits import unpack
from qkde.bb84.cascade import SEED_BYTES
from qkde.bb84.cascade_variants import CascadeVariant
from qkde.bb84.errors import ProtocolViolation, RoundFailed
from qkde.bb84.messages import AskParities, Message, Parities, StartPass
from qkde.bb84.parity_tree import PassParities, half_frame_mask, masked_parity, shuffled_order

_MAX_FLIPS = 2  # a bit flipped wrongly and back again; with honest parities no bit is flipped twice


class Corrector:
    """Bob in Cascade: makes his bits Alice's, and counts what she told for it.

    `ask(message)` brings her answer; `draw_seed(n)` gives n public random bytes. What was disclosed is counted on
    failure too.
    """

    def __init__(
        self,
        bits: np.ndarray,
        variant: CascadeVariant,
        ask: Callable[[Message], Message],
        draw_seed: Callable[[int], bytes],
    ) -> None:
        self.disclosed_parities = 0
        self.message_count = 0
        self._bits, self._variant, self._ask, self._draw_seed = bits.copy(), variant, ask, draw_seed
        self._trees: list[_Tree] = []
        self._flip_counts = np.zeros(len(bits), np.uint8)
        self._next_pass = 0

    @property
    def corrected_count(self) -> int:
        """Bits that differ from those he began with."""
        return int(np.count_nonzero(self._flip_counts & 1))

    def run(self, qber: float) -> np.ndarray:
        """The corrected bits, uint8; `qber` is the error rate to expect.

        Raises RoundFailed when more parities are disclosed than there are bits, or when parities contradict each other.
        """
        for pass_index in range(len(self._variant.block_sizes)):
            self._open_pass(self._variant.block_count(pass_index, len(self._bits), qber))
            self._correct_all()
        even_in_a_row = 0
        while even_in_a_row < self._variant.closing_passes:
            even_in_a_row = 0 if self._close_on_half_frame() else even_in_a_row + 1
        return self._bits

    def _open_pass(self, block_count: int) -> None:
        message = self._start_pass(block_count, half_frame=False)
        order = None if message.pass_index == 0 else shuffled_order(len(self._bits), message.seed)
        tree = _Tree(self._bits, order, message, self._variant.sub_block_reuse)
        tree.learn_blocks(self._parities(message, block_count))
        self._trees.append(tree)

    def _close_on_half_frame(self) -> bool:
        """Compare a random half; True when it was odd (one error in it, and what that uncovers, is then corrected)."""
        message = self._start_pass(1, half_frame=True)
        mask = half_frame_mask(len(self._bits), message.seed)
        alice = self._parities(message, 1)
        if alice[0] == masked_parity(self._bits, mask):
            return False
        tree = _Tree(self._bits, np.flatnonzero(mask), message, reuse=False)
        tree.learn_blocks(alice)
        self._flip(self._bisect(tree, tree.take_odd_nodes()))
        self._correct_all()
        return True

    def _correct_all(self) -> None:
        """Bisect until no open pass has an odd block; passes with small blocks first, where an error costs least."""
        while True:
            for tree in self._trees:
                odd = tree.take_odd_nodes()
                if len(odd):
                    self._flip(self._bisect(tree, odd))
                    break
            else:
                return

    def _bisect(self, tree: "_Tree", nodes: np.ndarray) -> np.ndarray:
        """Go down from odd nodes that do not overlap to one wrong bit in each; returns their places in the frame."""
        found = []
        while len(nodes):
            begin, end = tree.intervals(nodes)
            single = end - begin == 1
            found.append(begin[single])
            nodes = nodes[~single]
            left = nodes - ((nodes & -nodes) >> 1)
            unknown = ~tree.known[left]
            if unknown.any():
                asked = left[unknown]
                message = AskParities(tree.pass_index, asked.astype("<u4").tobytes())
                tree.learn_halves(asked, nodes[unknown], self._parities(message, len(asked)))
            nodes = np.where(tree.odd(left), left, 2 * nodes - left)
        return tree.frame_positions(np.concatenate(found))

    def _flip(self, positions: np.ndarray) -> None:
        self._bits[positions] ^= 1
        self._flip_counts[positions] += 1
        if (self._flip_counts[positions] > _MAX_FLIPS).any():
            raise RoundFailed("reconciliation failed: parities contradict each other, some were altered on the way")
        for tree in self._trees:
            tree.note_flips(positions)

    def _start_pass(self, block_count: int, half_frame: bool) -> StartPass:
        message = StartPass(self._next_pass, block_count, half_frame, self._draw_seed(SEED_BYTES))
        self._next_pass += 1
        return message

    def _parities(self, message: Message, count: int) -> np.ndarray:
        answer = self._ask(message)
        if not isinstance(answer, Parities):
            raise ProtocolViolation(f"{type(answer).__name__} came where parities were asked for")
        self.message_count += 1
        self.disclosed_parities += count
        if self.disclosed_parities > len(self._bits):
            raise RoundFailed("reconciliation failed: it disclosed more parities than there are bits")
        return unpack(answer.bits, count)


class _Tree(PassParities):
    """Bob's view of one pass: which nodes' parities Alice has told, and where he has flipped bits since then."""

    def __init__(self, bits: np.ndarray, order: np.ndarray | None, message: StartPass, reuse: bool) -> None:
        super().__init__(bits if order is None else bits[order], message.block_count)
        self.pass_index = message.pass_index
        self.known = np.zeros(2 * self.leaf_count, bool)
        self._alice = np.empty(2 * self.leaf_count, np.uint8)  # her parities of the known nodes
        self._order = order
        self._places = None  # of each bit of the frame in this pass; made when first needed
        self._reuse = reuse
        self._flipped = np.zeros(0, np.int64)  # places, sorted
        self._touched: list[np.ndarray] = []

    def learn_blocks(self, alice: np.ndarray) -> None:
        self._learn(self.blocks, alice)
        self._touched.append(self.blocks)

    def learn_halves(self, left: np.ndarray, whole: np.ndarray, alice: np.ndarray) -> None:
        """`alice`: her parities of the left halves of known nodes; those of the right halves follow."""
        self._learn(left, alice)
        self._learn(2 * whole - left, alice ^ self._alice[whole])

    def _learn(self, nodes: np.ndarray, alice: np.ndarray) -> None:
        self.known[nodes] = True
        self._alice[nodes] = alice

    def odd(self, nodes: np.ndarray) -> np.ndarray:
        """True where Bob's parity of a known node differs from Alice's now."""
        begin, end = self.intervals(nodes)
        parities = self._prefix[begin] ^ self._prefix[end] ^ self._alice[nodes]
        if len(self._flipped):
            flips = np.searchsorted(self._flipped, end) - np.searchsorted(self._flipped, begin)
            parities ^= (flips & 1).astype(np.uint8)
        return parities.astype(bool)

    def take_odd_nodes(self) -> np.ndarray:
        """Odd nodes among those touched since the last call. They do not overlap: the tree did not grow in between."""
        if not self._touched:
            return np.zeros(0, np.int64)
        nodes = np.sort(np.concatenate(self._touched))  # np.unique hashes, which takes four times as long
        self._touched.clear()
        nodes = nodes[np.diff(nodes, prepend=0) != 0]
        return nodes[self.odd(nodes)]

    def note_flips(self, positions: np.ndarray) -> None:
        """Bits of the frame were flipped: in this pass too a known node above each of them changes sides."""
        places = np.sort(self._pass_places(positions))
        self._flipped = np.insert(self._flipped, np.searchsorted(self._flipped, places), places)
        leaves = self.leaf_nodes(places)
        self._touched.append(self._smallest_known(leaves) if self._reuse else self._ancestors(leaves, self.height))

    def _smallest_known(self, leaves: np.ndarray) -> np.ndarray:
        nodes = self._ancestors(leaves, self.height)
        for level in range(self.height - 1, -1, -1):
            lower = self._ancestors(leaves, level)
            nodes = np.where(self.known[lower], lower, nodes)
        return nodes

    @staticmethod
    def _ancestors(leaves: np.ndarray, level: int) -> np.ndarray:
        """The nodes of 2^level leaves above the given leaves."""
        return (leaves >> (level + 1) << (level + 1)) | (1 << level)

    def frame_positions(self, places: np.ndarray) -> np.ndarray:
        return places if self._order is None else self._order[places]

    def _pass_places(self, positions: np.ndarray) -> np.ndarray:
        if self._order is None:
            return positions
        if self._places is None:
            self._places = np.empty(len(self._order), np.int32)
            self._places[self._order] = np.arange(len(self._order), dtype=np.int32)
        return self._places[positions].astype(np.int64)
