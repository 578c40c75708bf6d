"""The variants of Cascade, as data. Block sizes are of the form c/Q^e, with Q the expected error rate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CascadeVariant:
    """`block_sizes`: (c, e) of each pass's block size c/Q^e.

    `sub_block_reuse`: an error found elsewhere makes Bob look for its partner in the smallest block whose parity he
    knows, not only in whole blocks; it halves the messages. In either case no parity is asked for twice.
    """

    name: str
    source: str
    block_sizes: tuple[tuple[float, float], ...]
    sub_block_reuse: bool
    closing_passes: int

    def block_count(self, pass_index: int, bit_count: int, qber: float) -> int:
        """Into how many blocks `bit_count` bits are cut; at least 2 where there are 2 bits."""
        coefficient, exponent = self.block_sizes[pass_index]
        blocks = round(bit_count / (coefficient / qber**exponent))
        return min(max(blocks, 2), bit_count)


VARIANTS = {
    variant.name: variant
    for variant in (
        CascadeVariant(
            name="original",
            source="Brassard and Salvail 1994, block size from 0.73/Q, doubled in each of four passes",
            block_sizes=((0.73, 1), (1.46, 1), (2.92, 1), (5.84, 1)),
            sub_block_reuse=False,
            closing_passes=20,
        ),
        CascadeVariant(
            name="efficient",
            source="after Martinez-Mateo, Pacher, Peev, Ciurana, Martin 2015, option 8; block sizes tuned for 1 to 5 %",
            block_sizes=((0.8, 1), (50, 0.5), (4096, 0)),
            sub_block_reuse=True,
            closing_passes=20,
        ),
    )
}
