"""What Eve knows of a round's key bits, before anything is said in public but the bases. Ground truth: sums alone.

`qkde.link.eve_guesses` says with which probability p each key bit is Alice's to her; per bit, her Shannon information
is 1 − h(p), and its collision entropy −log2(p² + (1−p)²).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from math import log2
from operator import add
from typing import TYPE_CHECKING

from qkde.bb84.finite_key import binary_entropy

if TYPE_CHECKING:
    from qkde.link.tap import Bits, Indices, Knowledge


@dataclass
class EveRecord:
    """Running sums over key bits. `sure_bits`: those she knows for certain; `guessed_bits`: those she would have right,
    half of what she knows nothing of among them. `collision_entropy_bits`: what she lacks of them.
    """

    key_bits: int = 0
    sure_bits: int = 0
    guessed_bits: int = 0
    information_bits: float = 0.0
    collision_entropy_bits: float = 0.0

    def __add__(self, other: EveRecord) -> EveRecord:
        return EveRecord(*map(add, astuple(self), astuple(other)))

    def hear(self, knowledge: Iterable[Knowledge], bits: Bits, basis: int, angles_degrees: tuple[float, float],
             key_positions: Indices) -> None:  # fmt: skip
        """The bases of a frame are announced: all of its key bits, at `key_positions`, are in `basis`.

        Photons that she stored of key bits are measured now. Raises qkde.link.aer.SimulationFailed.
        """
        from qkde.link.eve_guesses import guesses_of  # who only reads a record needs no NumPy

        self.key_bits += key_positions.size
        for certainty, bit_count, right_count in guesses_of(knowledge, bits, basis, angles_degrees, key_positions):
            # What is a coin to her counts as half, whatever her luck: no sum over bits of which she has nothing.
            self.guessed_bits += right_count if certainty > 0.5 else bit_count // 2
            self.sure_bits += bit_count if certainty > 1 - 1e-12 else 0
            self.information_bits += bit_count * (1 - binary_entropy(1 - certainty))
            self.collision_entropy_bits -= bit_count * log2(certainty**2 + (1 - certainty) ** 2)
