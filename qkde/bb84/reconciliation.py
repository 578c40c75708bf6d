"""Bob's side of Cascade, vectorised: all odd blocks of a pass are bisected together, one message per level.

For each open pass Bob keeps the whole tree of parities: which nodes he knows Alice's parity of, and whether his own
differs now. A parity once learnt is never asked for again, and the second half of a known block is never asked for at
all.
"""

from collections.abc import Callable
from math import inf

import numpy as np

from qkde.bb84.bit_orders import FrameOrder, HalfFrame, ShuffledOrder
from qkde.bb84.bits import unpack
from qkde.bb84.cascade import SEED_BYTES, frame_order
from qkde.bb84.cascade_variants import CascadeVariant, count_blocks
from qkde.bb84.errors import ProtocolViolation, RoundFailed
from qkde.bb84.messages import AskParities, Message, Parities, StartPass
from qkde.bb84.parity_tree import PassParities

_KNOWN = 2  # beside a parity of 0 or 1: Alice has told it
_MAX_FLIPS = 2  # a bit flipped wrongly and back again; with honest parities no bit is flipped twice
_TOO_MANY = 4  # times the errors expected: then the blocks are that much too big
_FEW_ERRORS = 30  # by chance alone a frame never has so many more than expected


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
        self._flipped_count = 0
        self._next_pass = 0

    @property
    def corrected_count(self) -> int:
        """Bits that differ from those he began with."""
        return int(np.count_nonzero(self._flip_counts & 1))

    def run(self, qber: float) -> np.ndarray:
        """The corrected bits, uint8; `qber` is the error rate to expect.

        Raises RoundFailed when more parities are disclosed than there are bits, or when parities contradict each other.
        """
        sizes = self._variant.block_sizes(qber)
        while sizes:
            self._open_pass(count_blocks(len(self._bits), sizes[0]))
            if self._correct_all(most_errors=self._most_errors(qber)):
                sizes = sizes[1:]
            else:
                qber *= _TOO_MANY
                sizes = self._variant.block_sizes(qber)
        even_in_a_row = 0
        while even_in_a_row < self._variant.closing_passes:
            even_in_a_row = 0 if self._close_on_half_frame() else even_in_a_row + 1
        return self._bits

    def _most_errors(self, qber: float) -> float:
        """Above it blocks made for `qber` are too big; inf where they can't be any smaller.

        The estimate is of the test basis, and knows nothing of noise, or an Eve, in the key basis alone. With too few
        blocks a third of them stays odd whatever is corrected: the errors would come out a few at a time, for a dozen
        messages each.
        """
        return _TOO_MANY * qber * len(self._bits) + _FEW_ERRORS if _TOO_MANY * qber < 0.5 else inf

    def _open_pass(self, block_count: int) -> None:
        message = self._start_pass(block_count, half_frame=False)
        order = frame_order(message, len(self._bits))
        tree = _Tree(self._bits, order, message, self._variant.sub_block_reuse)
        tree.learn_blocks(self._parities(message, block_count))
        self._trees.append(tree)
        self._trees.sort(key=lambda tree: -len(tree.blocks))

    def _close_on_half_frame(self) -> bool:
        """Compare a random half; True when it was odd (one error in it, and what that uncovers, is then corrected)."""
        message = self._start_pass(1, half_frame=True)
        half = HalfFrame(len(self._bits), message.seed)
        alice = self._parities(message, 1)
        if alice[0] == half.parity(self._bits):
            return False
        members = half.members
        tree = _Tree(self._bits[members], FrameOrder(), message, reuse=False)
        tree.learn_blocks(alice)
        self._flip(members[self._bisect(tree, tree.take_odd_nodes())])
        self._correct_all()
        return True

    def _correct_all(self, most_errors: float = inf) -> bool:
        """Bisect until no open pass has an odd block; passes with small blocks first, where an error costs least.

        False when it stopped before that, after more than `most_errors`.
        """
        while self._flipped_count <= most_errors:
            for tree in self._trees:
                odd = tree.take_odd_nodes()
                if len(odd):
                    self._flip(tree.order.positions(self._bisect(tree, odd)))
                    break
            else:
                return True
        return False

    def _bisect(self, tree: "_Tree", nodes: np.ndarray) -> np.ndarray:
        """Go down from odd nodes that do not overlap to one wrong bit in each; returns their places in the pass."""
        begin, end = tree.intervals(nodes)
        in_front = tree.parities_in_front(begin)
        found = []
        while True:
            single = end - begin == 1
            if single.any():
                found.append(begin[single])
                nodes, begin, end, in_front = (column[~single] for column in (nodes, begin, end, in_front))
            if not len(nodes):
                return np.concatenate(found)
            left = nodes - ((nodes & -nodes) >> 1)
            middle = tree.first_bits(nodes >> 1)
            in_front_of_middle = tree.parities_in_front(middle)
            odd_left = in_front ^ in_front_of_middle != self._alices_parities(tree, nodes, left)
            nodes = np.where(odd_left, left, 2 * nodes - left)
            begin, end = np.where(odd_left, begin, middle), np.where(odd_left, middle, end)
            in_front = np.where(odd_left, in_front, in_front_of_middle)

    def _alices_parities(self, tree: "_Tree", nodes: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Of the left halves of known nodes; she is asked for those that are not known yet."""
        unknown = ~tree.known(left)
        if unknown.any():
            asked = left[unknown]
            message = AskParities(tree.pass_index, asked.astype("<u4").tobytes())
            tree.learn_halves(asked, nodes[unknown], self._parities(message, len(asked)))
        return tree.alices(left)

    def _flip(self, positions: np.ndarray) -> None:
        self._bits[positions] ^= 1
        self._flip_counts[positions] += 1
        self._flipped_count += len(positions)
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

    def __init__(self, bits: np.ndarray, order: FrameOrder | ShuffledOrder, message: StartPass, reuse: bool) -> None:
        super().__init__(order.arranged(bits), message.block_count)
        self.pass_index, self.order = message.pass_index, order
        self._told = np.zeros(2 * self.leaf_count, np.uint8)  # per node 0, or _KNOWN with Alice's parity
        self._reuse = reuse
        self._flipped = np.zeros(0, np.int64)  # places, sorted
        self._touched: list[np.ndarray] = []

    def learn_blocks(self, alice: np.ndarray) -> None:
        self._told[1 << self.height :: 2 << self.height] = alice | _KNOWN
        self._touched.append(self.blocks)

    def learn_halves(self, left: np.ndarray, whole: np.ndarray, alice: np.ndarray) -> None:
        """`alice`: her parities of the left halves of known nodes; those of the right halves follow."""
        self._told[left] = alice | _KNOWN
        self._told[2 * whole - left] = alice ^ self._told[whole]

    def known(self, nodes: np.ndarray) -> np.ndarray:
        return self._told[nodes] != 0

    def alices(self, nodes: np.ndarray) -> np.ndarray:
        """Her parities of known nodes."""
        return self._told[nodes] & 1

    def parities_in_front(self, places: np.ndarray) -> np.ndarray:
        """Bob's parities now of all bits in front of places."""
        parities = self._prefix[places]
        if len(self._flipped):
            parities ^= (np.searchsorted(self._flipped, places) & 1).astype(np.uint8)
        return parities

    def take_odd_nodes(self) -> np.ndarray:
        """Of the nodes touched since the last call those where Bob's parity differs from Alice's now. They do not
        overlap: the tree did not grow in between.
        """
        if not self._touched:
            return np.zeros(0, np.int64)
        nodes = np.sort(np.concatenate(self._touched))  # np.unique hashes, which takes four times as long
        self._touched.clear()
        nodes = nodes[np.diff(nodes, prepend=0) != 0]
        begin, end = self.intervals(nodes)
        return nodes[self.parities_in_front(begin) ^ self.parities_in_front(end) != self.alices(nodes)]

    def note_flips(self, positions: np.ndarray) -> None:
        """Bits of the frame were flipped: in this pass too a known node above each of them changes sides."""
        places = np.sort(self.order.places(positions))
        self._flipped = np.insert(self._flipped, np.searchsorted(self._flipped, places), places)
        leaves = self.leaf_nodes(places)
        self._touched.append(self._smallest_known(leaves) if self._reuse else self._ancestors(leaves, self.height))

    def _smallest_known(self, leaves: np.ndarray) -> np.ndarray:
        nodes = self._ancestors(leaves, self.height)
        for level in range(self.height - 1, -1, -1):
            lower = self._ancestors(leaves, level)
            nodes = np.where(self.known(lower), lower, nodes)
        return nodes

    @staticmethod
    def _ancestors(leaves: np.ndarray, level: int) -> np.ndarray:
        """The nodes of 2^level leaves above the given leaves."""
        return (leaves >> (level + 1) << (level + 1)) | (1 << level)
