"""A QKDE's client against the link's own application, joined without a network."""

from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest

from mutual_tls.client import Refused, Unreachable
from mutual_tls.identity import Identity
from qkde.link.client import LinkAnswerInvalid, LinkClient
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import qkd_app

ALICE, BOB = Identity("qkde", "qkde-a"), Identity("qkde", "qkde-b")
PULSES = 1_001


class PeerWithoutNetwork:
    """Takes the place of mutual_tls.client.Peer."""

    def __init__(self, app, caller):
        self._client = app.test_client()
        self._caller = caller

    def request(self, method, path, *, params=None, json=None, octets=None, timeout_s=None):
        environ = {"qkd.caller": self._caller}
        reply = self._client.open(path, method=method, query_string=params, data=octets, environ_overrides=environ)
        if reply.status_code >= 300:
            raise Refused(reply.status_code, reply.json["message"])
        return SimpleNamespace(octets=reply.data, json=reply.json if reply.is_json else None)


@pytest.fixture
def link():
    return QuantumLink("a-b", LinkPhysics(loss_db=3), seed=1)


@pytest.fixture
def ends(link):
    app = qkd_app(link, ALICE, BOB)
    return [LinkClient(PeerWithoutNetwork(app, end), UUID(int=5)) for end in (ALICE, BOB)]


def test_bits_sent_by_alice_arrive_at_bob(ends):
    alice, bob = ends
    bits, bases, bobs_bases = np.random.default_rng(1).integers(0, 2, (3, PULSES), dtype=np.uint8)
    alice.prepare(0, bits, bases)
    clicks, outcomes = bob.measure(0, bobs_bases)
    assert clicks.shape == outcomes.shape == (PULSES,)
    sifted = (bases == bobs_bases) & (clicks == 1)
    assert 200 < sifted.sum() < 300
    assert np.array_equal(outcomes[sifted], bits[sifted])


def test_alice_learns_whether_a_frame_is_closed_and_nothing_more(ends):
    alice, bob = ends
    bits = np.ones(PULSES, bool)
    alice.prepare(0, bits, bits)
    assert alice.close(0) is False
    bob.measure(0, bits)
    assert alice.close(0) is True
    assert alice.close(0) is True


def test_frames_and_rounds_are_told_apart(ends, link):
    alice, bob = ends
    zeros, ones = np.zeros(PULSES, np.uint8), np.ones(PULSES, np.uint8)
    alice.prepare(0, zeros, zeros)
    alice.prepare(1, ones, zeros)
    assert not bob.measure(0, zeros)[1].any()
    assert bob.measure(1, zeros)[1].any()
    assert list(link._rounds) == [UUID(int=5)]


def test_a_refusal_other_than_not_measured_is_passed_on(ends):
    alice, bob = ends
    with pytest.raises(Refused, match="404"):
        alice.close(9)
    with pytest.raises(Refused, match="404"):
        bob.measure(9, np.zeros(PULSES, np.uint8))


def test_bits_without_a_basis_each_are_refused_before_anything_is_sent(ends, link):
    with pytest.raises(ValueError, match="3 bits with 2 bases"):
        ends[0].prepare(0, np.zeros(3, np.uint8), np.zeros(2, np.uint8))
    assert not link._rounds


@pytest.mark.parametrize("octets", [b"", bytes(251), bytes(253)], ids=len)
def test_an_answer_of_the_wrong_length_is_not_taken(octets):
    peer = SimpleNamespace(request=lambda *_, **__: SimpleNamespace(octets=octets))
    with pytest.raises(LinkAnswerInvalid, match=f"{len(octets)} bytes came, expected 252"):
        LinkClient(peer, UUID(int=5)).measure(0, np.zeros(PULSES, np.uint8))


def test_an_unreachable_link_is_passed_on_as_such():
    def nobody(*_, **__):
        raise Unreachable("qlink a-b at 127.0.0.1:1: connection refused")

    with pytest.raises(Unreachable):
        LinkClient(SimpleNamespace(request=nobody), UUID(int=5)).close(0)
