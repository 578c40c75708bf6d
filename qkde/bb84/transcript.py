"""The transcript: every message of a round in order, as each end understood it. The tags at the end are over it."""

from hashlib import sha256

from qkde.bb84.messages import Message, encode


class Transcript:
    """Questions and answers in turn. An identical retry is one exchange and is entered once, by the caller."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._hash = sha256()

    def enter(self, *messages: Message) -> None:
        for message in messages:
            encoded = encode(message)
            # The length in front makes the concatenation of messages unambiguous.
            for chunk in (len(encoded).to_bytes(8, "big"), encoded):
                self._chunks.append(chunk)
                self._hash.update(chunk)

    def content(self) -> bytes:
        """All of it: what an information-theoretic tag must be computed over."""
        return b"".join(self._chunks)

    def digest(self) -> bytes:
        """SHA-256 of it: enough to find out that two ends differ, where nobody wants to deceive them."""
        return self._hash.digest()
