"""A link fed by key files that lie, or appear, in a folder at each of two whole KMEs."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import secrets
from uuid import uuid4

import pytest

from kme.directory_source import MOST_BLOCK_BYTES, SparingConfirmation, block_id_of
from kme.errors import Unavailable
from kme.model import KeyFolder
from mutual_tls.client import Refused

from kme_steps import Crash, blocks, crash_in, pool_ids

SIZE = 20_000


@pytest.fixture
def folders(tmp_path, request):
    delete = getattr(request, "param", False)
    for kme_id in ("kme-a", "kme-b"):
        (tmp_path / kme_id).mkdir()
    return {kme_id: KeyFolder(tmp_path / kme_id, delete) for kme_id in ("kme-a", "kme-b")}


@pytest.fixture
def bring(folders):
    """Puts a file with these contents into the folder of each KME that is named."""

    def bring(name: str, contents: bytes, at=("kme-a", "kme-b")) -> bytes:
        for kme_id in at:
            (folders[kme_id].path / name).write_bytes(contents)
        return contents

    return bring


def look(network, count=2):
    """A file is complete when it is found unchanged a second later."""
    for _ in range(count):
        network.step()
        for site in (network.a, network.b):
            site.clock[0] += 1.0


def received_bits(site) -> int:
    return site.entity.account().received


def files_in(folder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


deleting = pytest.mark.parametrize("folders", [True], indirect=True)


def test_equal_files_become_equal_keys_at_both_kmes_and_both_own_some(network, bring):
    bring("first.cor", secrets.token_bytes(SIZE))
    look(network, 6)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE
    assert len(pool_ids(network, "a")) == len(pool_ids(network, "b")) == 20
    network.assert_account_adds_up()
    assert not network.qkde.orders


def test_the_keys_are_the_bytes_of_the_file(network, bring):
    contents = bring("one.cor", secrets.token_bytes(SIZE))
    look(network, 6)
    answer = network.a.sae("sae-a").post("/api/v1/keys/sae-b/enc_keys", json={"number": 10})
    assert all(base64.b64decode(key["key"]) in contents for key in answer.get_json()["keys"])


def test_a_file_that_is_moved_in_while_the_kmes_run_is_read(network, folders, tmp_path):
    look(network)
    assert received_bits(network.a) == 0
    contents = secrets.token_bytes(SIZE)
    for folder in folders.values():
        (tmp_path / "outside").write_bytes(contents)
        (tmp_path / "outside").rename(folder.path / "moved.cor")
    look(network)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE


def test_a_file_that_still_grows_is_not_read(network, folders, bring):
    first, rest = secrets.token_bytes(SIZE), secrets.token_bytes(SIZE)
    bring("grows.cor", first)
    look(network, 1)
    for folder in folders.values():
        with (folder.path / "grows.cor").open("ab") as file:
            file.write(rest)
    look(network, 1)
    assert received_bits(network.a) == 0
    look(network, 1)
    assert received_bits(network.a) == 16 * SIZE


def test_a_long_file_is_cut_into_blocks_that_the_kmes_own_in_turn(network, bring):
    bring("long.cor", secrets.token_bytes(3 * MOST_BLOCK_BYTES + 10_000))
    look(network, 6)
    lengths = sorted(one.length_bits for one in network.a.entity.block_records.open_blocks("a-b"))
    assert lengths == [80_000] + 3 * [8 * MOST_BLOCK_BYTES]
    assert len(blocks(network.a, "confirmed", "kme-a")) == len(blocks(network.a, "confirmed", "kme-b")) == 2
    assert {one.origin for one in blocks(network.a, "confirmed", "kme-a")} == {"directory"}


def test_what_is_too_short_for_a_block_at_the_end_of_a_file_is_left_out(network, bring):
    bring("tail.cor", secrets.token_bytes(2 * MOST_BLOCK_BYTES + 63))
    look(network, 4)
    assert received_bits(network.a) == 16 * MOST_BLOCK_BYTES


def test_files_that_differ_between_the_sites_give_no_key_wherever_they_differ(network, bring, caplog):
    contents = bytearray(bring("differs.cor", secrets.token_bytes(SIZE), at=["kme-a"]))
    contents[-1] ^= 1
    bring("differs.cor", bytes(contents), at=["kme-b"])
    bring("same.cor", secrets.token_bytes(SIZE))
    look(network, 8)
    for site in (network.a, network.b):
        account = site.entity.account()
        # Both blocks, also the first, whose bytes are equal at both sites.
        assert (account.received, account.destroyed) == (16 * SIZE, 8 * SIZE)
    assert "the tag does not fit" in caplog.text
    assert len(pool_ids(network, "a")) == 20
    network.assert_account_adds_up()


def test_a_file_that_is_at_one_site_only_waits_and_is_used_when_it_comes_to_the_other(network, bring):
    contents = bring("late.cor", secrets.token_bytes(SIZE), at=["kme-a"])
    look(network, 100)
    assert blocks(network.a, "received", "kme-a") and not pool_ids(network)
    bring("late.cor", contents, at=["kme-b"])
    look(network, 15)
    assert len(pool_ids(network)) == 20


def test_a_file_that_stays_at_one_site_is_given_up_and_destroyed(network, bring):
    bring("alone.cor", secrets.token_bytes(SIZE), at=["kme-a"])
    look(network)
    for seconds in (3_601, 3 * 3_601):
        network.a.clock[0] += seconds
        look(network, 12)
    assert network.a.entity.account().destroyed == 8 * SIZE
    network.assert_account_adds_up()


def test_a_peer_without_the_file_is_asked_ever_more_rarely(clock_and_peer):
    clock, asked, confirmation = clock_and_peer
    for _ in range(4 * 60):
        with pytest.raises(Refused) as refused:
            confirmation.ask(A_BLOCK, None)
        assert refused.value.status == 404
        clock[0] += 0.25
    assert 8 <= len(asked) <= 12


class _Block:
    block_id = uuid4()


A_BLOCK = _Block()


@pytest.fixture
def clock_and_peer():
    clock, asked = [0.0], []

    class Confirmation:
        def ask(self, block, peer):
            asked.append(block.block_id)
            raise Refused(404, "not here yet")

    return clock, asked, SparingConfirmation(Confirmation(), lambda: clock[0])


# Never twice


def test_a_file_is_not_read_again_neither_now_nor_after_a_restart(network, bring, restarted, folders):
    bring("once.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    for kme_id in ("kme-a", "kme-b"):
        restarted(kme_id)
    look(network, 4)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE
    assert network.a.operator.get("/v1/status").get_json()["links"][0] | {"blocks": []} == {
        "link": "a-b", "peer": "kme-b", "origin": "directory", "blocks": [], "last_reports": [],
        "folder": str(folders["kme-a"].path), "files_read": 1, "bytes_read": SIZE,
    }  # fmt: skip


def test_a_file_that_was_read_is_not_looked_into_again_while_it_stays_as_it_is(network, bring, monkeypatch):
    bring("once.cor", secrets.token_bytes(SIZE))
    look(network, 2)
    monkeypatch.setattr("kme.directory_source.DirectorySource._opened", None)
    look(network, 4)


def test_a_file_with_a_name_that_was_read_and_other_contents_is_refused(network, bring, restarted, caplog):
    bring("name.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    bring("name.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    assert caplog.text.count("a file of this name was read before, with other contents") == 2  # once at each KME
    restarted("kme-a")
    look(network, 4)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE


def test_contents_that_were_read_are_refused_under_another_name(network, bring, caplog):
    contents = bring("one.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    bring("two.cor", contents)
    look(network, 4)
    assert received_bits(network.a) == 8 * SIZE
    assert "its contents were read before, as one.cor of link a-b" in caplog.text


CRASH_POINTS = 10  # a file with two blocks: begun; recorded, stored, received, advanced for each; finished


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, CRASH_POINTS + 2))
def test_a_crash_anywhere_in_reading_a_file_loses_and_repeats_nothing(network, bring, restarted, crash_at, after):
    bring("crash.cor", secrets.token_bytes(SIZE))
    entity = network.a.entity
    steps = (
        (entity.key_files, ("begin", "advance", "finish")),
        (entity.block_records, ("add_block", "set_received")),
        (entity.keystore, ("store_block",)),
    )
    count = crash_in(steps, crash_at, after)
    crashed = False
    try:
        look(network, 2)
    except Crash:
        crashed = True
    assert crashed == (crash_at <= CRASH_POINTS), count()
    restarted("kme-a")
    look(network, 10)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE
    assert len(pool_ids(network, "a")) == len(pool_ids(network, "b")) == 20
    network.assert_account_adds_up()


def test_a_store_that_does_not_answer_delays_a_file_and_loses_nothing(network, bring, monkeypatch):
    bring("later.cor", secrets.token_bytes(SIZE))
    look(network, 1)
    store = network.a.entity.keystore.store_block

    def unavailable(*_):
        raise Unavailable("Redis does not answer: ConnectionError")

    monkeypatch.setattr(network.a.entity.keystore, "store_block", unavailable)
    with pytest.raises(Unavailable):
        look(network, 1)
    monkeypatch.setattr(network.a.entity.keystore, "store_block", store)
    look(network, 8)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE
    assert len(pool_ids(network)) == 20


# Deletion


@deleting
def test_a_file_is_deleted_when_all_of_it_was_read(network, bring, folders):
    bring("gone.cor", secrets.token_bytes(SIZE))
    bring("not-a-key.txt", b"stays")
    look(network, 6)
    assert [files_in(folder) for folder in folders.values()] == 2 * [["not-a-key.txt"]]
    assert len(pool_ids(network)) == 20


@deleting
def test_a_file_that_was_read_before_a_crash_is_deleted_after_it_and_not_read_again(
    network, bring, folders, restarted, monkeypatch
):
    bring("gone.cor", secrets.token_bytes(SIZE))
    look(network, 1)

    def crash(*_):
        raise Crash

    monkeypatch.setattr("kme.directory_source.DirectorySource._delete", crash)
    with pytest.raises(Crash):
        look(network, 1)
    monkeypatch.undo()
    restarted("kme-a")
    look(network, 4)
    assert not any(files_in(folder) for folder in folders.values())
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE


@deleting
def test_a_refused_file_is_not_deleted(network, bring, folders):
    bring("name.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    bring("name.cor", secrets.token_bytes(SIZE))
    look(network, 4)
    assert files_in(folders["kme-a"]) == ["name.cor"]


# Bad files


def test_a_bad_file_is_named_once_and_stops_no_other(network, bring, folders, caplog):
    bring("a-empty.cor", b"")
    bring("b-short.cor", bytes(63))
    for folder in folders.values():
        (folder.path / "c-folder.cor").mkdir()
        os.mkfifo(folder.path / "d-pipe.cor")
        (folder.path / "e-link.cor").symlink_to("/etc/passwd")
        (folder.path / "f\udcff.cor").write_bytes(bytes(1000))
    bring("other.txt", secrets.token_bytes(SIZE))
    bring("z-good.cor", secrets.token_bytes(SIZE))
    with caplog.at_level(logging.INFO):
        look(network, 8)
    assert received_bits(network.a) == received_bits(network.b) == 8 * SIZE
    for said in ("'a-empty.cor': it has 0 bytes", "'b-short.cor': it has 63", "'c-folder.cor': it is no regular file"):
        assert caplog.text.count(said) == 2
    assert caplog.text.count("'d-pipe.cor': it is no regular file") == 2
    assert caplog.text.count("'e-link.cor': it can't be read") == 2


def test_a_file_that_was_too_short_is_read_once_it_is_complete(network, bring):
    bring("short.cor", b"")
    look(network, 3)
    bring("short.cor", secrets.token_bytes(SIZE))
    look(network, 3)
    assert received_bits(network.a) == 8 * SIZE


def test_a_folder_that_is_missing_is_said_once_and_read_when_it_is_there(network, bring, folders, caplog):
    folder = folders["kme-a"].path
    folder.rmdir()
    look(network, 4)
    assert caplog.text.count("can't be read: No such file") == 1
    folder.mkdir()
    bring("there.cor", secrets.token_bytes(SIZE))
    look(network, 6)
    assert len(pool_ids(network)) == 20


def test_nothing_of_a_file_reaches_the_log_or_the_records(network, bring, caplog):
    contents = bring("secret.cor", secrets.token_bytes(SIZE))
    with caplog.at_level(logging.DEBUG):
        look(network, 6)
    digest = hashlib.sha256(contents).digest()
    assert digest.hex() not in caplog.text
    with network.a.entity.database.transaction() as sql:
        sql.execute("SELECT digest FROM key_file UNION SELECT binding FROM block UNION SELECT digest FROM block")
        assert digest not in [bytes(row["digest"]) for row in sql.fetchall()]


def test_a_qkde_may_not_hand_over_blocks_for_a_link_with_a_folder(network):
    answer = network.a.hand_over(uuid4(), "kme-a", bytes(1000))
    assert answer.status_code == 400
    assert answer.get_json()["message"] == "link: the blocks of 'a-b' come from directory, not from bb84"


def test_both_kmes_name_a_block_alike_and_no_two_blocks_share_a_name():
    places = [("a-b", "x.cor", 0), ("a-b", "x.cor", 64), ("a-c", "x.cor", 0), ("a-b", "y.cor", 0)]
    places.append(("a-b", "4|x.cor", 6))
    assert len({block_id_of(*place) for place in places}) == len(places)
    assert block_id_of("a-b", "x.cor", 0) == block_id_of("a-b", "x.cor", 0)
