"""The pad pool on disk: a pad that was handed out is gone, whatever happens next."""

import os
import threading

import pytest

from mutual_tls.app import CALLER
from mutual_tls.identity import Identity
from qkd_lab.pki.secrets import PRE_SHARED_KEY_BYTES
from qkde.bb84 import pads as bb84_pads
from qkde.bb84.errors import RoundFailed
from qkde.bb84.pads import PAD_BYTES, PRE_SHARED_PADS, PadOffer, pre_shared_key
from qkde.node.entity import QkdEntity, UnknownLink
from qkde.node.pads import FilePads
from qkde.node.sealed import SealedFiles
from qkde.node.web import ops_app

KEY = bytes(range(32))
PRE_SHARED_KEY = pre_shared_key(os.urandom)
KEY_ID = PRE_SHARED_KEY[:8].hex()


@pytest.fixture
def opened(tmp_path):
    """Opens the pool as a process that has just started does."""
    return lambda: FilePads(tmp_path / "pads", KEY, "a-b", PRE_SHARED_KEY)


def pad(index, end=PRE_SHARED_PADS):
    return PadOffer(KEY_ID, index, end)


def number(index):
    return PRE_SHARED_KEY[8 + PAD_BYTES * index :][:PAD_BYTES]


def test_a_new_pool_is_the_pre_shared_key(opened):
    assert opened().state().offer == pad(0)
    assert opened().reserve(pad(0), 0.0) == number(0)


def test_a_reserved_pad_is_not_given_out_again_after_a_restart(opened):
    opened().reserve(pad(2), 1e-30)
    for used in range(3):
        with pytest.raises(RoundFailed, match=f"pad {used} is used already"):
            opened().reserve(pad(used), 0.0)
    assert opened().reserve(pad(3), 1e-30) == number(3)
    assert opened().state().epsilon == 2e-30


def test_a_pad_is_gone_from_the_disk_before_it_is_used(opened, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_mode))
    opened().reserve(pad(0), 0.0)
    assert len(synced) == 2, "the file and its folder"
    assert opened().state().pads == PRE_SHARED_KEY[8 + PAD_BYTES :]


def test_a_reservation_that_could_not_be_written_gives_no_pad(opened, monkeypatch):
    opened().reserve(pad(0), 0.0)

    def full(descriptor):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="disk full"):
            opened().reserve(pad(1), 0.0)
    assert opened().state().offer == pad(1)


def test_one_pad_goes_to_one_of_many_who_ask_at_once(opened):
    got, barrier = [], threading.Barrier(8)

    def ask():
        barrier.wait()
        try:
            got.append(opened().reserve(pad(5), 0.0))
        except RoundFailed:
            got.append(None)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=bool) == [None] * 7 + [number(5)]


def test_refilled_pads_survive_a_restart_and_can_be_refilled_again(opened):
    new = os.urandom(2 * PAD_BYTES)
    opened().reserve(pad(0, 20), 0.0)
    for _ in range(2):
        opened().refill(pad(0, 20), new)
        assert opened().state().pads == PRE_SHARED_KEY[8 + PAD_BYTES : 8 + 20 * PAD_BYTES] + new
    assert opened().state().offer == pad(1, 22)


def test_pads_are_encrypted_and_their_owner_alone_can_read_the_file(opened, tmp_path):
    opened().reserve(pad(0), 0.0)
    path = tmp_path / "pads" / "a-b.pads"
    assert number(1)[:16] not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_pool_stops_rounds_and_says_what_to_do(opened, tmp_path):
    opened().reserve(pad(0), 0.0)
    path = tmp_path / "pads" / "a-b.pads"
    harmed = path.read_bytes().replace(b'"first": 1', b'"first": 0')
    path.write_bytes(harmed)
    for touch in (opened().state, lambda: opened().reserve(pad(0), 0.0)):
        with pytest.raises(RoundFailed, match="a-b.pads can't be decrypted.* `qkd-lab link rekey a-b`"):
            touch()
    assert opened().rekey(pre_shared_key(os.urandom)).first == 0, "and that helps"
    assert opened().state().offer.end == PRE_SHARED_PADS


def test_a_pool_put_in_another_links_place_is_not_used(opened, tmp_path):
    SealedFiles(tmp_path / "pads", KEY).write("a-b.pads", {"link": "a-c", "key_id": KEY_ID, "first": 0}, b"")
    with pytest.raises(RoundFailed, match="the pad pool of another link"):
        opened().state()


def test_a_new_pre_shared_key_replaces_all_pads_and_keeps_the_sum_of_bounds(opened):
    opened().reserve(pad(0), 1e-30)
    other = pre_shared_key(os.urandom)
    assert opened().rekey(other) == PadOffer(other[:8].hex(), 0, PRE_SHARED_PADS)
    with pytest.raises(RoundFailed):
        opened().reserve(pad(1), 0.0)
    opened().reserve(PadOffer(other[:8].hex(), 0, 1), 1e-30)
    assert opened().state().epsilon == 2e-30


def test_the_same_pre_shared_key_again_brings_no_used_pad_back(opened):
    opened().reserve(pad(6), 0.0)
    assert opened().rekey(PRE_SHARED_KEY) == pad(7)


def test_the_lab_makes_pre_shared_keys_of_the_length_that_pools_expect():
    assert PRE_SHARED_KEY_BYTES == bb84_pads.PRE_SHARED_KEY_BYTES == len(PRE_SHARED_KEY)


class HostedEnd:
    """What `QkdEntity.rekey` touches of a link's end."""

    def __init__(self, pads):
        self.pads = pads
        self.end = self


def test_an_operator_rekeys_a_link_and_nothing_of_the_key_is_shown(opened, caplog):
    entity = QkdEntity("qkde-a", {"a-b": HostedEnd(opened())}, None, None)
    client = ops_app(entity).test_client()
    other = pre_shared_key(os.urandom)

    def put(link, body, role="operator"):
        return client.put(f"/v1/links/{link}/pre-shared-key", data=body, environ_base={CALLER: Identity(role, "x")})

    with caplog.at_level("INFO"):
        reply = put("a-b", other)
    assert reply.json == {"key_id": other[:8].hex(), "pads_left": PRE_SHARED_PADS}
    assert opened().state().key_id == other[:8].hex()
    assert other[8:].hex()[:32] not in caplog.text + reply.text
    assert put("a-b", other, role="probe").status_code == 401
    assert put("a-b", b"short").status_code == 400
    assert put("a-c", other).status_code == 404
    with pytest.raises(UnknownLink):
        entity.rekey("a-c", other)
