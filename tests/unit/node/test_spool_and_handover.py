import os
import threading
import uuid

import pytest

from mutual_tls import request_id
from mutual_tls.client import Refused, Reply, Unreachable
from qkde.bb84.report import Block
from qkde.node.handover import Handover
from qkde.node.spool import Spool

KEY = bytes(range(32))


def a_block() -> Block:
    return Block(str(uuid.uuid4()), "a-b", "kme-a", 256, os.urandom(32))


class Kme:
    """A KME that answers as it is told to, and remembers what it took."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.taken: dict[str, bytes] = {}
        self.requests: list[str | None] = []
        self.took = threading.Event()

    def request(self, method, path, *, params, octets):
        assert method == "PUT"
        self.requests.append(request_id.current())
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome:
            raise outcome
        self.taken[path.rpartition("/")[2]] = octets
        self.took.set()
        return Reply(204, b"")


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path / "spool", KEY)


def test_a_released_block_survives_a_restart_as_it_was(spool, tmp_path):
    block = a_block()
    spool.keep(block)
    spool.release(block.block_id)
    restarted = Spool(tmp_path / "spool", KEY)
    restarted.discard_unfinished()
    assert restarted.released() == [block]


def test_a_block_whose_round_did_not_end_is_gone_after_a_restart(spool, tmp_path):
    spool.keep(a_block())
    assert spool.released() == []
    Spool(tmp_path / "spool", KEY).discard_unfinished()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_spooled_block_is_encrypted_and_its_owner_alone_can_read_the_file(spool, tmp_path):
    block = a_block()
    spool.keep(block)
    (path,) = (tmp_path / "spool").iterdir()
    assert block.bits not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data.replace(b"-a", b"-b")]
)
def test_a_damaged_file_is_named_and_put_aside_and_the_others_are_offered(spool, tmp_path, harm, caplog):
    block, other = a_block(), a_block()
    for one in (block, other):
        spool.keep(one)
        spool.release(one.block_id)
    path = tmp_path / "spool" / f"{block.block_id}.block"
    path.write_bytes(harm(path.read_bytes()))
    assert spool.released() == [other]
    assert str(path) in caplog.text
    assert path.with_suffix(".damaged").exists()


def test_a_block_that_waits_is_told_of_once(spool, caplog):
    handover, block = Handover(spool, Kme(*[Unreachable("nobody")] * 3)), a_block()
    spool.keep(block)
    handover.release(block.block_id)
    for _ in range(3):
        handover.offer_all()
    assert caplog.text.count("waits: nobody") == 1


def test_a_block_is_offered_until_the_kme_acknowledges_it(spool):
    kme, block = Kme(Unreachable("nobody"), Refused(503, "not now")), a_block()
    handover = Handover(spool, kme)
    spool.keep(block)
    handover.release(block.block_id)
    assert [handover.offer_all() for _ in range(3)] == [False, False, True]
    assert kme.taken == {block.block_id: block.bits}
    assert spool.released() == []


def test_a_hand_over_has_the_id_of_its_round(spool):
    blocks = [a_block(), a_block()]
    for block in blocks:
        spool.keep(block)
        spool.release(block.block_id)
    kme = Kme()
    assert Handover(spool, kme).offer_all()
    assert sorted(kme.requests) == sorted(block.block_id for block in blocks)


def test_one_block_that_waits_does_not_hold_up_the_next(spool):
    kme, first, second = Kme(Refused(503, "not now")), a_block(), a_block()
    handover = Handover(spool, kme)
    for block in (first, second):
        spool.keep(block)
        handover.release(block.block_id)
    assert not handover.offer_all()
    assert set(kme.taken) == {second.block_id}


def test_bits_that_the_kme_knows_otherwise_are_destroyed(spool):
    kme, block = Kme(Refused(409, "other bits")), a_block()
    handover = Handover(spool, kme)
    spool.keep(block)
    handover.release(block.block_id)
    assert handover.offer_all()
    assert kme.taken == {} and spool.released() == []


def test_the_running_handover_offers_what_an_earlier_process_left(spool):
    kme, block = Kme(), a_block()
    spool.keep(block)
    spool.release(block.block_id)
    stopping = threading.Event()
    thread = threading.Thread(target=Handover(spool, kme).run, args=(stopping,))
    thread.start()
    try:
        assert kme.took.wait(10)
    finally:
        stopping.set()
        thread.join(10)
    assert not thread.is_alive()
