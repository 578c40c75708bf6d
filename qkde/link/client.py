"""A QKDE's end of a quantum link: what Alice sends into the fibre and what Bob's detectors tell him."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from mutual_tls.client import Peer, Refused
from qkde.bb84.intensities import PulseIntensities, pack_choices

# For one attempt: a connection that is dead without a word must not cost a round more. Aer may need longer for the
# largest frame on a busy machine; who asks again then waits for the same measurement.
MEASUREMENT_TIMEOUT_S = 10.0


class LinkAnswerInvalid(Exception):
    """What the link answered is not what docs/protocols.md says."""


class LinkClient:
    """One round on the link behind `peer`. Arrays have shape (n,), dtype uint8 or bool, values 0 and 1.

    Every call may be repeated as it was after mutual_tls.client.Unreachable; mutual_tls.client.Refused is final.
    """

    def __init__(self, peer: Peer, round_id: UUID) -> None:
        self._peer = peer
        self._round_id = round_id

    def prepare(
        self, frame: int, bits: np.ndarray, bases: np.ndarray, intensities: PulseIntensities | None = None
    ) -> None:
        """Alice sends a pulse for each of her bits, in the basis beside it: a photon, or light of the intensities."""
        if bits.shape != bases.shape:
            raise ValueError(f"{bits.size} bits with {bases.size} bases: expected one basis for each bit")
        octets = np.packbits(bits).tobytes() + np.packbits(bases).tobytes()
        params: dict[str, int | str] = {"pulses": bits.size}
        if intensities is not None:
            params["intensities"] = ",".join(map(repr, intensities.means))
            octets += pack_choices(intensities.choices, len(intensities.means))
        self._peer.request("PUT", self._path(frame, "preparation"), params=params, octets=octets)

    def measure(self, frame: int, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bob measures each pulse in his basis for it -> (clicks, outcomes), uint8; an outcome without a click is 0."""
        reply = self._peer.request(
            "POST",
            self._path(frame, "measurement"),
            octets=np.packbits(bases).tobytes(),
            timeout_s=MEASUREMENT_TIMEOUT_S,
        )
        expected = 2 * -(-bases.size // 8)
        if len(reply.octets) != expected:
            raise LinkAnswerInvalid(f"frame {frame}: {len(reply.octets)} bytes came, expected {expected}")
        clicks, outcomes = np.split(np.frombuffer(reply.octets, np.uint8), 2)
        return np.unpackbits(clicks, count=bases.size), np.unpackbits(outcomes, count=bases.size)

    def close(self, frame: int) -> bool:
        """True once Bob has measured the frame and nobody can any more; False while he has not."""
        try:
            reply = self._peer.request("POST", self._path(frame, "closure"))
        except Refused as refusal:
            if refusal.status == 409:
                return False
            raise
        return reply.json == {"closed": True}

    def _path(self, frame: int, what: str) -> str:
        return f"/v1/rounds/{self._round_id}/frames/{frame}/{what}"
