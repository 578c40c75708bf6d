"""What QKDEs send to each other and to a quantum link, and what lies in a QKDE's folder: a message or
MalformedMessage, a frame or FrameError, the secret that was written or an error that names the file."""

import time
import tracemalloc
from dataclasses import fields
from types import SimpleNamespace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutual_tls.app import CALLER
from mutual_tls.identity import Identity
from qkde.bb84.errors import MalformedMessage, RoundFailed
from qkde.bb84.messages import MESSAGE_KINDS, decode, encode
from qkde.bb84.pads import PadOffer, pre_shared_key
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.report import Block
from qkde.link.frames import Frame, FrameError
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import ops_app, qkd_app
from qkde.node.ends import UnexpectedRound
from qkde.node.pads import FilePads
from qkde.node.sealed import SealedFileError, SealedFiles
from qkde.node.spool import Spool
from qkde.node.web import classical_app, kme_app

from malformed import FUZZ, NUMBERS, TEXTS, VALUES, bodies, strange_octets

ID = "123e4567-e89b-42d3-a456-426614174000"
SPOOL_KEY = bytes(range(32))
EXAMPLES = {
    str: ID,
    int: 7,
    bool: True,
    bytes: b"\x00\xff" * 40,
    RoundParameters: RoundParameters(),
    PadOffer: PadOffer("a key", 3, 9),
    tuple[int, ...]: (3, 0, 2**32 - 1),
}
EVERY_KIND = [encode(kind(*(EXAMPLES[item.type] for item in fields(kind)))) for kind in MESSAGE_KINDS.values()]
ALICE, BOB = Identity("qkde", "qkde-a"), Identity("qkde", "qkde-b")
KME, OPERATOR = Identity("kme", "kme-a"), Identity("operator", "operator")
PACKABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=4), parts, max_size=3),
    max_leaves=6,
)
# Lengths that are not there, nesting, extension types, timestamps.
FEARED = [
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\x91" * 100_000,
    b"\xc9\xff\xff\xff\xff\x01", b"\xd7\xff" + b"\xff" * 8, b"\x92\xd6\xff\0\0\0\0\xc0", b"\xc1", b"", b"\x81" * 5000,
]  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of any kind, with any values; or with altered octets."""
    octets = draw(st.sampled_from(EVERY_KIND))
    if draw(st.booleans()):
        return draw(strange_octets(octets))
    name, *values = msgpack.unpackb(octets, raw=False)
    if draw(st.integers(0, 3)) == 0:  # the same in a longer form, as nobody needs to write it
        long_name = b"\xd9%c" % len(name) + name.encode()
        return b"\xdc\0%c" % (1 + len(values)) + long_name + b"".join(map(msgpack.packb, values))
    if values:
        values[draw(st.integers(0, len(values) - 1))] = draw(PACKABLE | st.sampled_from([True, 1.0, b"", "", [], [7]]))
    if values and isinstance(values[-1], list) and draw(st.booleans()):
        values[-1].append(draw(PACKABLE))
    return msgpack.packb([name, *values])


@settings(FUZZ, max_examples=6 * FUZZ.max_examples)
@given(messages() | st.binary(max_size=80) | PACKABLE.map(msgpack.packb) | st.sampled_from(FEARED))
def test_octets_are_one_message_in_its_only_encoding_or_are_malformed(tried, octets):
    message = tried.only(MalformedMessage, decode, octets)
    if message is not None:
        assert type(message) in MESSAGE_KINDS.values() and encode(message) == octets
        plain = [item for item in fields(message) if item.type in (int, bool, bytes, str)]
        assert all(type(getattr(message, item.name)) is item.type for item in plain)


@pytest.mark.parametrize(
    "octets", [*FEARED, b"\x93\xa6Finish\xc6\x00\xff\xff\xff" + bytes(1000), b"\x91\x80" * 500_000]
)
def test_a_hostile_message_costs_little_time_and_memory(tried, octets):
    started = time.process_time()
    tracemalloc.start()
    try:
        tried.only(MalformedMessage, decode, octets)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5 and most < 1e6 + 100 * len(octets)


@FUZZ
@given(
    st.integers() | st.integers(0, 40),
    st.binary(max_size=20),
    st.lists(st.floats() | st.sampled_from([0.0, 0.5]), max_size=4).map(tuple),
)
def test_a_preparation_is_a_frame_or_is_refused(tried, pulses, body, intensities):
    frame = tried.only(FrameError, Frame.of, pulses, body, 0.0, intensities)
    if frame is not None:
        assert len(body) == (2 + max(0, len(intensities) - 1).bit_length()) * -(-pulses // 8)
        tried.only(FrameError, frame.measure, body[:-1] + b"x" * 5, None)


@pytest.fixture(scope="module")
def link():
    """A quantum link with its two applications."""
    link = QuantumLink("a-b", LinkPhysics(), seed=1)
    return SimpleNamespace(link=link, qkd=qkd_app(link, ALICE, BOB), ops=ops_app(link))


FRAME = f"/v1/rounds/{ID}/frames/0".encode()


@FUZZ
@given(
    st.sampled_from([b"/preparation?pulses=16&intensities=0.5,0.1", b"/measurement", b"/closure"]).flatmap(
        lambda tail: strange_octets(FRAME + tail)
    ),
    st.binary(max_size=12),
    st.sampled_from([("PUT", ALICE), ("POST", BOB), ("POST", ALICE)]),
)
def test_nothing_a_qkde_sends_is_a_server_error_of_the_link(tried, link, raw, body, how):
    path, _, query = raw.decode("latin-1").partition("?")
    client = link.qkd.test_client()
    environ = {CALLER: how[1], "PATH_INFO": path, "QUERY_STRING": query}
    tried.status(client.open("/", method=how[0], data=body, environ_overrides=environ).status_code)


PHYSICS = {
    "loss_db": 1.0,
    "depolarizing": 0.1,
    "eve": "intercept-resend:0.5",
    "noise": "bit_flip:0.01,phase_damping:0.1",
    "dead_time_s": 1e-8,
}


@FUZZ
@given(bodies(PHYSICS))
def test_no_physics_is_a_server_error(tried, link, body):
    before = link.link.physics
    client = link.ops.test_client()
    code = client.patch("/v1/physics", data=body, environ_overrides={CALLER: OPERATOR}).status_code
    if tried.status(code) >= 400:
        assert link.link.physics == before
    link.link.change_physics(**LinkPhysics().settings())


@pytest.fixture(scope="module")
def qkde():
    """The applications of a QKDE on whose links no round was ordered: every message that is one is refused."""

    def answer(octets):
        decode(octets)
        raise UnexpectedRound("no round was started here")

    entity = SimpleNamespace(
        name="qkde-a",
        other_qkde=lambda link: BOB,
        order=lambda *_: {},
        alice=lambda link: SimpleNamespace(answer=answer),
        order_from_alice=lambda *_: {},
    )
    return SimpleNamespace(classical=classical_app(entity), kme=kme_app(entity, KME))


@FUZZ
@given(messages() | st.binary(max_size=30))
def test_no_message_is_a_server_error_of_a_qkde(tried, qkde, octets):
    client = qkde.classical.test_client()
    code = client.post("/v1/links/a-b/messages", data=octets, environ_overrides={CALLER: BOB}).status_code
    assert tried.status(code) in (400, 409)


@FUZZ
@given(bodies({"link": "a-b", "block_id": ID, "owner": "kme-a"}))
def test_no_order_is_a_server_error_of_a_qkde(tried, qkde, body):
    for app, path, caller in ((qkde.classical, "/v1/links/a-b/orders", BOB), (qkde.kme, "/v1/orders", KME)):
        tried.status(app.test_client().post(path, data=body, environ_overrides={CALLER: caller}).status_code)


@pytest.fixture
def quick_disk(monkeypatch):
    """Nothing waits for the disk, and the same secret is the same file, so that a run is like the last."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("os.urandom", bytes)


@FUZZ
@given(st.data())
def test_a_damaged_sealed_file_is_said_to_be_damaged(tried, tmp_path, quick_disk, data):
    files = SealedFiles(tmp_path / "sealed", SPOOL_KEY)
    files.write("a", {"link": "a-b"}, b"secret")
    path = tmp_path / "sealed" / "a"
    valid = path.read_bytes()
    damaged = data.draw(
        strange_octets(valid) | st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b"{}", b"\n"])
    )
    path.write_bytes(damaged)
    found = tried.only(SealedFileError, files.read, "a")
    assert found is None or damaged == valid


@FUZZ
@given(st.data())
def test_a_damaged_block_is_put_aside_and_the_others_are_offered(tried, tmp_path, quick_disk, data):
    spool = Spool(tmp_path / "spool", SPOOL_KEY)
    blocks = [Block(f"{number}{ID[1:]}", "a-b", "kme-a", 256, bytes(32)) for number in range(2)]
    for block in blocks:
        spool.keep(block)
        spool.release(block.block_id)
    path = tmp_path / "spool" / f"{blocks[0].block_id}.block"
    valid = path.read_bytes()
    damaged = data.draw(strange_octets(valid) | st.binary(max_size=60) | st.just(b"[" * 100_000))
    path.write_bytes(damaged)
    found = spool.released()
    if damaged != valid:
        tried.refused()
        assert found == blocks[1:] and path.with_suffix(".damaged").exists()
    for block in blocks:
        spool.forget(block.block_id)


@FUZZ
@given(st.data())
def test_a_damaged_pad_pool_ends_the_round_and_a_new_key_starts_it_anew(tried, tmp_path, quick_disk, data):
    beginning, anew = (pre_shared_key(lambda count, octet=octet: bytes([octet]) * count) for octet in (1, 2))
    pads = FilePads(tmp_path / "pads", SPOOL_KEY, "a-b", beginning)
    pads.rekey(anew)
    path = tmp_path / "pads" / "a-b.pads"
    valid = path.read_bytes()
    damaged = data.draw(strange_octets(valid) | st.binary(max_size=60) | st.just(b"[" * 100_000))
    path.write_bytes(damaged)
    found = tried.only(RoundFailed, pads.state)
    assert found is None or damaged == valid
    assert pads.rekey(beginning).key_id == (b"\1" * 8).hex()


@FUZZ
@given(st.binary(max_size=80) | st.integers(0, 4000).map(bytes))
def test_a_pre_shared_key_has_whole_pads_or_is_refused(tried, tmp_path, quick_disk, octets):
    tried.only(ValueError, FilePads(tmp_path / "keys", SPOOL_KEY, "a-b", pre_shared_key(bytes)).rekey, octets)


@FUZZ
@given(VALUES | NUMBERS | TEXTS, VALUES, VALUES)
def test_a_pad_offer_is_one_or_is_malformed(tried, key_id, first, end):
    tried.only(MalformedMessage, PadOffer, key_id, first, end)
