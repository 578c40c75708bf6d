"""The variants of Cascade, as data."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, log2


@dataclass(frozen=True)
class CascadeVariant:
    """`block_sizes(qber)`: bits per parity block in each pass over the whole frame, at the expected error rate Q.

    `sub_block_reuse`: an error found elsewhere makes Bob look for its partner in the smallest block whose parity he
    knows, not only in whole blocks. In either case no parity is asked for twice. `closing_passes`: comparisons of
    random halves that must agree in a row before the frame counts as equal.
    """

    name: str
    source: str
    block_sizes: Callable[[float], tuple[int, ...]]
    sub_block_reuse: bool
    closing_passes: int


def count_blocks(bit_count: int, block_size: int) -> int:
    """Blocks of at most `block_size` bits; at least 2 where there are 2 bits, and no more than bits."""
    return min(max(-(-bit_count // block_size), 2), bit_count)


def _doubled(qber: float) -> tuple[int, ...]:
    first = ceil(0.73 / qber)
    return tuple(first << doublings for doublings in range(4))


def _powers_of_two(qber: float) -> tuple[int, ...]:
    exponent = log2(1 / qber)
    return 1 << round(exponent), 1 << floor((exponent + 12) / 2), 1 << 12


VARIANTS = {
    variant.name: variant
    for variant in (
        CascadeVariant(
            name="original",
            source="Brassard and Salvail 1994: four passes, blocks of 0.73/Q bits rounded up, doubled in each pass",
            block_sizes=_doubled,
            sub_block_reuse=False,
            closing_passes=20,
        ),
        # Theirs: 2^⌈a⌉, 2^⌈(a + 12)/2⌉, 2^12 with a = log2(1/Q), then half frames, which are the closing passes here.
        # Rounded to the nearest and down, at 2 to 5 % it discloses less and takes a fifth to a half of the messages.
        CascadeVariant(
            name="efficient",
            source="after option 8 of Martinez-Mateo, Pacher, Peev, Ciurana, Martin 2015: blocks of powers of two",
            block_sizes=_powers_of_two,
            sub_block_reuse=True,
            closing_passes=20,
        ),
    )
}
