"""Bob's side of the classical channel: one question, one answer, over HTTPS to Alice's QKDE."""

from __future__ import annotations

from mutual_tls.client import Peer, Refused, Unreachable
from qkde.bb84.errors import PeerUnreachable
from qkde.bb84.messages import Message, decode, encode

ATTEMPT_COUNT = 3


class ClassicalChannel:
    """The port `Channel` of `qkde.bb84.ports`.

    A question whose answer was lost is asked again, to the byte: Alice answers an identical retry without counting it
    twice. Raises PeerUnreachable when no attempt was answered, or when her QKDE can't serve the round.
    """

    def __init__(self, alice: Peer, link: str) -> None:
        self._alice = alice
        self._path = f"/v1/links/{link}/messages"

    def ask(self, message: Message) -> Message:
        question = encode(message)
        lost: Unreachable | None = None
        for _ in range(ATTEMPT_COUNT):
            try:
                return decode(self._alice.request("POST", self._path, octets=question).octets)
            except Unreachable as error:
                lost = error
            except Refused as refusal:
                raise PeerUnreachable(refusal.message) from refusal
        raise PeerUnreachable(f"the classical channel: {lost}")
