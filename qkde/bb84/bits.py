"""Bits as NumPy arrays inside, as packed bytes on the wire: most significant bit first, zeros at the end."""

import numpy as np

from qkde.bb84.errors import MalformedMessage


def pack(bits: np.ndarray) -> bytes:
    """Pack an array of 0/1 (or booleans) of any length into ⌈length/8⌉ bytes."""
    return np.packbits(bits).tobytes()


def unpack(data: bytes, bit_count: int) -> np.ndarray:
    """Unpack exactly `bit_count` bits into a uint8 array.

    Raises MalformedMessage when the length differs or a filling bit is set: with one encoding only per bit string,
    two ends that hold the same bits also hold the same transcript.
    """
    if len(data) != -(-bit_count // 8):
        raise MalformedMessage(f"{bit_count} bits take {-(-bit_count // 8)} bytes, not {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[bit_count:].any():
        raise MalformedMessage("a filling bit after the last one is set")
    return bits[:bit_count]
