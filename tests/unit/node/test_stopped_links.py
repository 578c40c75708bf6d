"""An operator's kill switch for a link, at either of its ends."""

import uuid
from dataclasses import asdict

import pytest
from app_peer import AppPeer

from mutual_tls.client import Refused
from mutual_tls.identity import Identity
from qkde.bb84.parameters import RoundParameters
from qkde.node.orders import ask
from qkde.node.web import kme_app, ops_app

from two_qkdes import ALICE, BOB, TwoQkdes

OPERATOR = Identity("operator", "operator")
PARAMETERS = asdict(
    RoundParameters(
        pulses_per_frame=30_000, frame_count=2, key_basis_probability=0.7, epsilon_secrecy=1e-6,
        epsilon_correctness=1e-9, verification_bits=61,
    )
)  # fmt: skip


@pytest.fixture
def ends(tmp_path):
    return TwoQkdes(tmp_path, PARAMETERS, {"depolarizing": 0.02})


def switch(entity, identity, stopped):
    peer = AppPeer(ops_app(entity), OPERATOR, identity)
    assert peer.request("PATCH", "/v1/links/a-b", json={"stopped": stopped}).json == {"link": "a-b", "stopped": stopped}
    assert peer.request("GET", "/v1/links").json == [{"link": "a-b", "stopped": stopped}]


def order(entity, identity):
    kme = Identity("kme", f"kme-{identity.id[-1]}")
    peer = AppPeer(kme_app(entity, kme), kme, identity)
    return ask(peer, "/v1/orders", {"link": "a-b", "block_id": str(uuid.uuid4())}, until=lambda: False)


def test_a_stopped_link_refuses_orders_until_it_may_go_on(ends):
    switch(ends.bob, BOB, True)
    with pytest.raises(Refused, match=r"link a-b was stopped by an operator") as refused:
        order(ends.bob, BOB)
    assert refused.value.status == 503 and ends.link.measured.frame_count == 0
    switch(ends.bob, BOB, False)
    assert order(ends.bob, BOB)["outcome"] == "key"


def test_alices_end_alone_keeps_the_link_from_making_key(ends):
    switch(ends.alice, ALICE, True)
    report = order(ends.bob, BOB)
    assert report["outcome"] == "aborted" and "stopped by an operator" in report["abort_reason"]
    assert ends.link.measured.frame_count == 0 and ends.kmes[0].blocks == ends.kmes[1].blocks == []


def test_a_link_stays_stopped_when_its_process_is_started_anew(ends, tmp_path):
    switch(ends.bob, BOB, True)
    again = TwoQkdes(tmp_path, PARAMETERS, {})
    assert again.bob.stopped() == {"a-b": True} and again.alice.stopped() == {"a-b": False}


@pytest.mark.parametrize("body", [{}, {"stopped": 1}, {"stopped": None}, {"stopped": True, "more": 1}])
def test_what_is_no_switch_changes_nothing(ends, body):
    peer = AppPeer(ops_app(ends.bob), OPERATOR, BOB)
    with pytest.raises(Refused, match="stopped, true or false") as refused:
        peer.request("PATCH", "/v1/links/a-b", json=body)
    assert refused.value.status == 400 and ends.bob.stopped() == {"a-b": False}
    with pytest.raises(Refused, match="no link 'x'"):
        peer.request("PATCH", "/v1/links/x", json={"stopped": True})


def test_as_many_of_the_newest_reports_are_told_as_were_asked_for(ends):
    ends.bob.reports.extend({"link": "a-b", "number": number} for number in range(5))
    peer = AppPeer(ops_app(ends.bob), OPERATOR, BOB)
    newest = peer.request("GET", "/v1/reports?count=2").json
    assert [one["number"] for one in newest] == [3, 4]
    assert len(peer.request("GET", "/v1/reports").json) == 5
    with pytest.raises(Refused, match="count in the query"):
        peer.request("GET", "/v1/reports?count=0")
