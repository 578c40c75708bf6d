"""No key material in sight: known key bits are searched for wherever a KME leaves something, in any usual spelling."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import shutil
import subprocess
import threading
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
import redis

from kme import scripted_redis
from kme.errors import Unavailable
from kme.keyring import KeyRing
from kme.keywrap import KeyWrap

from kme_steps import assert_accounts, fetch

PIECE_BYTES = 16
BLOCK_BITS = 8_192


def spellings(piece: bytes) -> set[bytes]:
    """Raw, hexadecimal, escapes of Python and JSON; base64 and base64url in each alignment in something longer."""
    numbers = ", ".join(map(str, piece)).encode()
    forms = {piece, piece.hex().encode(), piece.hex().upper().encode(), repr(piece)[2:-1].encode(), numbers}
    forms.add(json.dumps(piece.decode("latin-1"))[1:-1].encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The characters in which no bit of a neighbour is: the first and last few are left out.
            characters = encode(bytes(shift) + piece + bytes(3))
            forms.add(characters[-(-shift * 8 // 6) : (shift + len(piece)) * 8 // 6])
    return forms


class Search:
    """`canaries`: bit strings that must be nowhere. They are searched for in pieces, so that a part of one shows."""

    def __init__(self, canaries: list[bytes]) -> None:
        pieces = [one[i : i + PIECE_BYTES] for one in canaries for i in range(0, len(one), PIECE_BYTES)]
        self.forms = {form: piece for piece in pieces if any(piece) for form in spellings(piece)}

    def found(self, *texts: bytes | str) -> list[bytes]:
        heaps = [one.encode("utf-8", "surrogateescape") if isinstance(one, str) else one for one in texts]
        return [form for form in self.forms if any(form in heap for heap in heaps)]


@pytest.fixture
def log(caplog):
    """Everything that is logged, at the level that says most, as a process writes it."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "werkzeug", "kme", "mutual_tls"):
        caplog.set_level(logging.DEBUG, name)
    return lambda: caplog.text


@pytest.fixture
def used(network, log):
    """A network that has done everything once; what was answered beside keys is in `network.bodies`."""
    network.qkde.length_bits = BLOCK_BITS
    network.step_until(lambda: all(one.entity.account().stored >= 20 * 256 for one in (network.a, network.b)))
    a, bodies = network.a, []
    keys = a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys?number=3").get_json()["keys"]
    assert fetch(network, "sae-b", "sae-a", keys[:2]).status_code == 200
    bodies += [fetch(network, "sae-b", "sae-a", one) for one in (keys[:1], [{"key_ID": str(uuid4())}])]
    bodies += [a.sae("sae-a").get(f"/api/v1/keys/sae-b/enc_keys?{query}") for query in ("size=7", "number=99999")]
    bodies += [a.sae("stranger").get("/api/v1/keys/sae-b/enc_keys"), a.sae("sae-a").get("/api/v1/keys/sae-b/status")]
    bodies += [a.sae("sae-a").get(f"/api/v1/{path}") for path in ("keys/entropy/total", "sae/info/me", "openapi.json")]
    a.entity.kek_rotation.begin()
    network.step(3)
    for site in (network.a, network.b):
        paths = ("/v1/status", "/v1/audit", "/v1/kek", "/v1/saes", "/v1/connections", "/healthz", "/metrics")
        bodies += [site.operator.get(path) for path in (*paths, f"/v1/keys/{keys[0]['key_ID']}")]
    assert_accounts(network)
    network.bodies = [one.data for one in bodies]
    network.keys = [base64.b64decode(key["key"]) for key in keys]
    return network


@pytest.fixture
def search(used):
    """All bits of all blocks, and the keys that were cut from them."""
    found = Search([*used.qkde.blocks.values(), *used.keys])
    assert len(found.forms) > 500
    return found


def stored_by_redis(url: str) -> bytes:
    """Every value as Redis writes it into a snapshot, uncompressed; and the snapshot and the append-only file, before
    and after it is rewritten, where these files can be read from here."""
    with redis.Redis.from_url(url) as client:
        client.config_set("rdbcompression", "no")
        whole = files_of(client)
        client.config_set("aof-use-rdb-preamble", "no")
        client.bgrewriteaof()
        while any(client.info("persistence")[f"aof_rewrite_{state}"] for state in ("in_progress", "scheduled")):
            pass
        client.save()
        whole += files_of(client)
    for database in (1, 2):  # a KME's each
        with redis.Redis.from_url(f"{url}?db={database}") as client:
            whole += b"".join(name + client.dump(name) for name in client.scan_iter())
    return whole


def files_of(client: redis.Redis) -> bytes:
    folder = Path(client.config_get("dir")["dir"])
    if not os.access(folder, os.R_OK | os.X_OK):  # in a container
        return b""
    append_only = folder / client.config_get("appenddirname")["appenddirname"]
    return b"".join(file.read_bytes() for file in (*append_only.iterdir(), *folder.glob("*.rdb")))


def stored_by_postgres(dsn: str) -> str:
    """`pg_dump` where there is one that can read this server, and each table's rows as text."""
    whole = ""
    program = shutil.which("pg_dump")
    if program:
        whole += subprocess.run([program, "--dbname", dsn], capture_output=True, text=True).stdout
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT entry::text FROM {table} entry")
            whole += "\n".join(entry for (entry,) in cursor.fetchall())
    connection.close()
    return whole


def test_the_stores_hold_no_key_in_clear(used, search, databases, redis_url):
    at_rest = stored_by_redis(redis_url)
    assert b"pool:" in at_rest and b"block:" in at_rest and b"copies:" in at_rest
    assert search.found(at_rest) == []
    for dsn in databases.values():
        dump = stored_by_postgres(dsn)
        assert "keys_delivered" in dump and "connection" in dump
        assert search.found(dump) == []


def test_logs_answers_and_the_audit_trail_hold_no_key(used, search, log):
    assert used.a.entity.audit.end().number > 10 and len(used.bodies) > 15
    assert search.found(log(), *used.bodies) == []
    parts = [one for site in (used.a, used.b) for one in (site.entity, *vars(site.entity).values())]
    assert search.found(*map(repr, parts)) == []


def test_what_the_kmes_say_to_each_other_holds_no_key(used, search):
    calls = [call for site, peer in ((used.a, "kme-b"), (used.b, "kme-a")) for call in site.peers[peer].calls]
    assert {path.split("/")[2] for _, path, _ in calls} >= {"batches", "blocks", "witness"}
    assert search.found(json.dumps(calls)) == []


def test_the_servers_logs_hold_no_key(used, search, request):
    if os.environ.get("QKD_LAB_STORES") == "containers":
        pytest.skip("the servers' logs are in their containers")
    logs = list(request.getfixturevalue("embedded_servers").data.glob("*.log"))
    assert logs and search.found(*(one.read_bytes() for one in logs)) == []


def loudly(used, kind=RuntimeError):
    """An error whose text is full of key material, as an unforeseen one may be."""
    bits = b"".join(used.qkde.blocks.values())[:64] + used.keys[0]
    return kind(f"{bits!r} {bits.hex()} {base64.b64encode(bits).decode()}", bits)


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, redis.ResponseError, psycopg2.DataError, UnicodeError])
def test_an_unforeseen_error_shows_no_key(used, search, log, monkeypatch, kind):
    def fail(*_, **__):
        raise loudly(used, kind)

    a, answers = used.a, []
    for owner, name, call in [
        (KeyRing, "unwrap", lambda left: a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys")),
        (KeyRing, "unwrap", lambda left: used.b.sae("sae-b").get(f"/api/v1/keys/sae-a/dec_keys?key_ID={left}")),
        (KeyWrap, "wrap", lambda left: a.hand_over(uuid4(), "kme-a", used.keys[0])),
        (KeyRing, "digest", lambda left: a.hand_over(uuid4(), "kme-a", used.keys[0])),
        (type(a.entity.audit), "end", lambda left: a.operator.get("/v1/status")),
    ]:
        left = a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").get_json()["keys"][0]["key_ID"]
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, fail)
            answer = call(left)
            assert answer.status_code == 500, (name, answer.get_json())
            answers.append(answer.data)
    with monkeypatch.context() as patched:
        patched.setattr(scripted_redis, "_asked", fail)
        answers.append(a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").data)
    once = threading.Event()
    a.scheduler._repeat("a task", lambda: (once.set(), fail()), once)
    assert type(loudly(used, kind)).__name__ in log()
    assert search.found(log(), *answers) == []


def test_a_damaged_value_is_refused_without_being_shown(used, search, log):
    ring, key = used.a.entity.keyring, used.keys[0]
    wrapped = ring.wrap(key, b"here")
    with pytest.raises(Unavailable) as raised:
        ring.unwrap(wrapped, b"elsewhere")
    assert search.found(str(raised.value), repr(raised.value), log()) == []


def test_what_is_planted_is_found_in_every_place_and_spelling(used, search, log, databases, redis_url):
    """The other tests would notice."""
    key = used.keys[0]
    for before in range(4):
        around = b"\xff" * before + key + b"\xff" * 5  # a quote in it would have repr() spell the key's own otherwise
        hexadecimal = around.hex().encode()
        for planted in (around, hexadecimal, hexadecimal.upper(), base64.b64encode(around), repr(around).encode()):
            assert search.found(b"before" + planted + b"after")
        assert search.found(base64.urlsafe_b64encode(around).rstrip(b"="), str(list(around)), binascii.hexlify(around))
    assert search.found(used.a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").data)
    logging.getLogger("kme.delivery").debug("given out: %r", key)
    assert search.found(log())
    with used.a.entity.keystore.answering() as store:
        store.hset("planted", "bits", b"{" + key + b"}")
    assert search.found(stored_by_redis(redis_url))
    used.a.entity.records.add_sae(key[:24].hex())
    assert search.found(stored_by_postgres(databases["kme_a"]))
