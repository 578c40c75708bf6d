"""Bob's side of the classical channel: one question, one answer, over HTTPS to Alice's QKDE."""

from __future__ import annotations

from typing import Any

from mutual_tls.client import Peer, Refused, Unreachable
from qkde.bb84.errors import ChannelLost, RoundRefused
from qkde.bb84.messages import decode, encode

ATTEMPT_COUNT = 3


class ClassicalChannel:
    """`ask(message)` returns Alice's answer.

    A question whose answer was lost is asked again, to the byte: Alice answers an identical retry without counting it
    twice. Raises ChannelLost when no attempt was answered, RoundRefused when Alice ends the round.
    """

    def __init__(self, alice: Peer, link: str) -> None:
        self._alice = alice
        self._path = f"/v1/links/{link}/messages"

    def ask(self, message: Any) -> Any:
        question = encode(message)
        lost: Unreachable | None = None
        for _ in range(ATTEMPT_COUNT):
            try:
                return decode(self._alice.request("POST", self._path, octets=question).octets)
            except Unreachable as error:
                lost = error
            except Refused as refusal:
                raise RoundRefused(refusal.message) from refusal
        raise ChannelLost(f"the classical channel: {lost}")
