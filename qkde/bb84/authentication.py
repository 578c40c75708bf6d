"""Wegman–Carter tags: information-theoretic authentication of a finished transcript (Wegman and Carter 1981).

The transcript, with a byte 1 and its length in front, is hashed at a secret point r of the field of p = 2^t − 1
elements, by the polynomial of `verification` (den Boer 1993), and masked with a one-time s: tag = (h_r + s) mod p,
t = 127. r and s are fresh for each tag.

Bound: whoever has seen one tag and puts another transcript in its place, with any tag, passes with probability at
most (L + 2)/2^t, for L words of t − 1 bits in the longer one. The difference of two transcripts' polynomials is of
degree 1 to L, so that no more than L points give it the wanted value; the 2 is because t bits spell zero twice, for r
and for s. The byte and the length make transcripts of different lengths different polynomials too. Nothing is assumed
of the forger's computer: HMAC and GMAC are computational only. The bounds of all tags of a link add up.
"""

from qkde.bb84.verification import seed_bytes, universal_hash, word_count

TAG_BITS = 127
TAG_BYTES = seed_bytes(TAG_BITS)
SECRET_BYTES = 2 * TAG_BYTES  # the point, then the mask; the first 127 bits of each 128 are used
_PRIME = 2**TAG_BITS - 1


def tag(secret: bytes, transcript: bytes) -> bytes:
    """The tag of `transcript` under `secret`, SECRET_BYTES bytes that nobody else knows and nothing else will use."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"the secret of a tag has {SECRET_BYTES} bytes, not {len(secret)}")
    point, mask = secret[:TAG_BYTES], int.from_bytes(secret[TAG_BYTES:], "big") >> (8 * TAG_BYTES - TAG_BITS)
    content = _prefix(len(transcript)) + transcript
    hashed = int.from_bytes(universal_hash(content, 8 * len(content), point, TAG_BITS), "big")
    return ((hashed + mask) % _PRIME).to_bytes(TAG_BYTES, "big")


def forgery_bound(transcript_bytes: int) -> float:
    """Upper bound on the probability that one forged tag over a transcript of up to this length passes."""
    bit_count = 8 * (len(_prefix(transcript_bytes)) + transcript_bytes)
    return (word_count(bit_count, TAG_BITS) + 2) / 2**TAG_BITS


def _prefix(transcript_bytes: int) -> bytes:
    return b"\x01" + transcript_bytes.to_bytes(8, "big")
