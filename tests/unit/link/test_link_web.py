"""The link's HTTP edge, as docs/protocols.md has it."""

import json
import logging

import numpy as np
import pytest

from mutual_tls.identity import Identity
from qkde.link import aer
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import QuantumLink
from qkde.link.web import ops_app, qkd_app

ALICE, BOB, OTHER = (Identity("qkde", name) for name in ("qkde-a", "qkde-b", "qkde-c"))
OPERATOR, PROBE = Identity("operator", "op"), Identity("probe", "healthcheck")
FRAME = "/v1/rounds/00000000-0000-0000-0000-000000000001/frames/0"
PULSES = 20
PREPARATION, OTHER_PREPARATION = b"\xa5\x5a\xf0\x12\x34\x50", b"\xa5\x5a\xf0\x12\x34\x60"
BASES, OTHER_BASES = b"\x12\x34\x50", b"\x00\x34\x50"


@pytest.fixture
def link():
    return QuantumLink("a-b", LinkPhysics(loss_db=0.0, depolarizing=0.0), seed=1)


@pytest.fixture
def qkd(link):
    return caller_of(qkd_app(link, ALICE, BOB))


@pytest.fixture
def ops(link):
    return caller_of(ops_app(link))


def caller_of(app):
    client = app.test_client()

    def call(caller, method, path, body=None):
        return client.open(path, method=method, data=body, environ_overrides={"qkd.caller": caller})

    return call


def prepare(qkd, body=PREPARATION, pulses=PULSES, caller=ALICE):
    return qkd(caller, "PUT", f"{FRAME}/preparation?pulses={pulses}", body)


def measure(qkd, body=BASES, caller=BOB):
    return qkd(caller, "POST", f"{FRAME}/measurement", body)


def close(qkd, caller=ALICE):
    return qkd(caller, "POST", f"{FRAME}/closure")


def message(reply):
    assert reply.content_type == "application/json"
    return reply.json["message"]


def test_a_frame_is_prepared_measured_and_closed(qkd):
    reply = prepare(qkd)
    assert (reply.status_code, reply.data) == (204, b"")
    reply = measure(qkd)
    assert (reply.status_code, reply.content_type) == (200, "application/octet-stream")
    clicks, outcomes = reply.data[:3], reply.data[3:]
    assert clicks == b"\xff\xff\xf0"
    assert outcomes == PREPARATION[:3]  # the bases are the same, so are the bits
    reply = close(qkd)
    assert (reply.status_code, reply.json) == (200, {"closed": True})


def test_alice_gets_nothing_but_an_acknowledgement(qkd):
    prepare(qkd)
    first = measure(qkd).data
    assert prepare(qkd).status_code == 409
    assert first not in close(qkd).data


def test_repeats_are_harmless_and_contradictions_are_conflicts(qkd):
    assert [prepare(qkd).status_code, prepare(qkd).status_code] == [204, 204]
    assert prepare(qkd, OTHER_PREPARATION).status_code == 409
    assert close(qkd).status_code == 409
    first = measure(qkd)
    assert measure(qkd).data == first.data
    assert measure(qkd, OTHER_BASES).status_code == 409
    assert [close(qkd).status_code, close(qkd).status_code] == [200, 200]
    assert [measure(qkd).status_code, prepare(qkd).status_code] == [409, 409]


def test_a_frame_that_was_not_prepared_is_404(qkd):
    assert [measure(qkd).status_code, close(qkd).status_code] == [404, 404]
    assert "was not prepared" in message(measure(qkd))


def test_neither_end_may_do_what_is_the_others(qkd):
    reply = prepare(qkd, caller=BOB)
    assert reply.status_code == 403
    assert message(reply) == "qkde qkde-b may not do this on link a-b: only qkde qkde-a may"
    prepare(qkd)
    assert measure(qkd, caller=ALICE).status_code == 403
    measure(qkd)
    assert close(qkd, caller=BOB).status_code == 403
    assert measure(qkd).status_code == 200


@pytest.mark.parametrize("caller", [OTHER, OPERATOR, Identity("qlink", "qkde-a"), None])
def test_others_are_not_admitted_to_the_quantum_link(qkd, caller):
    for reply in (prepare(qkd, caller=caller), measure(qkd, caller=caller), close(qkd, caller=caller)):
        assert reply.status_code == 401
        assert message(reply)


@pytest.mark.parametrize("pulses", ["", "x", "-1", "1.5", "0", "16777217", "99999999999999999999", "²", "٢٠"])
def test_a_number_of_pulses_that_is_none_is_refused_with_its_range(qkd, pulses):
    reply = prepare(qkd, pulses=pulses)
    assert reply.status_code == 400
    assert "pulses" in message(reply) and "1 to 16777216" in message(reply)


def test_a_preparation_without_the_number_of_pulses_is_refused(qkd):
    assert qkd(ALICE, "PUT", f"{FRAME}/preparation", PREPARATION).status_code == 400


def test_a_body_of_the_wrong_length_is_refused_with_the_length_expected(qkd):
    reply = prepare(qkd, PREPARATION + b"\0")
    assert reply.status_code == 400
    assert message(reply) == "a preparation (bits, then bases) of 20 pulses has 6 bytes: 7 came"
    prepare(qkd)
    reply = measure(qkd, b"")
    assert reply.status_code == 400
    assert message(reply) == "a measurement (bases) of 20 pulses has 3 bytes: 0 came"


def test_the_largest_frame_there_is_is_accepted(qkd):
    assert prepare(qkd, bytes(4 * 2**20), pulses=2**24).status_code == 204


def test_the_largest_frame_of_weak_pulses_is_accepted(qkd):
    pulses = f"{2**24}&intensities=0.5,0.1,0.0"
    assert prepare(qkd, bytes(8 * 2**20), pulses=pulses).status_code == 204


def test_a_body_too_large_for_any_frame_is_refused_unread(qkd):
    assert prepare(qkd, bytes(8 * 2**20 + 1), pulses=2**24).status_code == 413


@pytest.mark.parametrize("intensities", ["", "x", "0.5,", "0.5,-0.1", "nan", "inf", "11", "0.5,0.3,0.2,0.1"])
def test_intensities_that_are_none_are_refused_with_their_range(qkd, intensities):
    reply = prepare(qkd, bytes(12), pulses=f"{PULSES}&intensities={intensities}")
    assert reply.status_code == 400
    assert "up to 3 mean photon numbers from 0 to 10" in message(reply)


def test_a_pulse_of_an_intensity_that_there_is_not_is_refused(qkd):
    preparation = PREPARATION + b"\x80\0\0" + b"\xc0\0\0"
    reply = prepare(qkd, preparation, pulses=f"{PULSES}&intensities=0.5,0.1,0.0")
    assert (reply.status_code, message(reply)) == (400, "a pulse has intensity number 3 of 3, counted from 0")


def test_the_planes_of_intensities_are_part_of_the_preparation(qkd):
    weak = f"{PULSES}&intensities=0.5,0.1,0.0"
    reply = prepare(qkd, PREPARATION, pulses=weak)
    assert message(reply) == "a preparation (bits, then bases, then intensities) of 20 pulses has 12 bytes: 6 came"
    assert prepare(qkd, PREPARATION + bytes(6), pulses=weak).status_code == 204
    assert prepare(qkd, PREPARATION + bytes(6), pulses=weak).status_code == 204
    assert prepare(qkd, PREPARATION + bytes(5) + b"\x10", pulses=weak).status_code == 409
    assert prepare(qkd, PREPARATION + bytes(6), pulses=f"{PULSES}&intensities=0.5,0.2,0.0").status_code == 409
    assert prepare(qkd).status_code == 409


def test_two_intensities_take_one_plane(qkd):
    assert prepare(qkd, PREPARATION + bytes(3), pulses=f"{PULSES}&intensities=0.5,0.1").status_code == 204


@pytest.mark.parametrize("path", ["/v1/rounds/1/frames/0/closure", "/v1/rounds/x/frames/-1/closure", "/"])
def test_a_path_that_is_no_frame_is_404_in_json(qkd, path):
    reply = qkd(ALICE, "POST", path)
    assert reply.status_code == 404 and message(reply)


def test_a_simulation_that_failed_is_an_error_in_words(qkd, monkeypatch):
    def broken(*_):
        raise aer.SimulationFailed("Aer did not run the pulses: no memory")

    prepare(qkd)
    monkeypatch.setattr(aer, "measure", broken)
    reply = measure(qkd)
    assert (reply.status_code, message(reply)) == (500, "Aer did not run the pulses: no memory")


def test_too_many_open_frames_are_503(qkd, monkeypatch):
    monkeypatch.setattr("qkde.link.quantum_link.MAX_OPEN_FRAMES", 0)
    reply = prepare(qkd)
    assert reply.status_code == 503 and "expire" in message(reply)


def test_no_bits_show_in_a_log_or_an_error(qkd, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    secret = b"SECRET"

    def broken(bits, *_):
        raise RuntimeError(f"unexpected {np.packbits(bits).tobytes()}")

    monkeypatch.setattr(aer, "measure", broken)
    replies = [prepare(qkd, secret), prepare(qkd, secret + b"!"), prepare(qkd, b"!" + secret[1:]), measure(qkd)]
    assert [reply.status_code for reply in replies] == [204, 400, 409, 500]
    for shown in (secret, secret[:3], secret[3:]):
        assert not any(shown in reply.data for reply in replies)
        assert shown.decode() not in caplog.text


def test_an_operator_reads_the_physics_and_what_was_measured(qkd, ops):
    assert ops(OPERATOR, "GET", "/v1/physics").json["pulses_per_second"] is None
    prepare(qkd)
    measure(qkd)
    state = ops(OPERATOR, "GET", "/v1/physics").json
    assert state.pop("pulses_per_second") > 0
    assert state == {
        "link": "a-b", "loss_db": 0.0, "depolarizing": 0.0, "eve": "none", "frames_measured": 1, "pulses_measured": 20
    }  # fmt: skip


def test_an_operator_changes_the_physics_and_sets_eve(ops, link):
    reply = ops(OPERATOR, "PATCH", "/v1/physics", json.dumps({"depolarizing": 0.02, "eve": "intercept-resend:0.3"}))
    assert reply.status_code == 200
    assert (reply.json["loss_db"], reply.json["depolarizing"], reply.json["eve"]) == (0.0, 0.02, "intercept-resend:0.3")
    assert link.physics == LinkPhysics().changed(depolarizing=0.02, eve="intercept-resend:0.3")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('{"loss_db":3,"depolarizing":1.5}', "depolarizing is 1.5: expected a probability from 0 to 1"),
        ('{"loss_db":3,"depolarizing":NaN}', "depolarizing is nan"),
        ('{"loss_db":3,"eve":"mallory"}', "expected none or intercept-resend:FRACTION"),
        ('{"loss_db":3,"losses":3}', "no setting losses"),
        ('{"loss_db":3,"self":3}', "no setting self"),
        ('["loss_db"]', "must be a JSON object"),
        ("{", "must be a JSON object"),
        ("", "must be a JSON object"),
    ],
)
def test_impossible_physics_are_refused_and_change_nothing(ops, link, settings, named):
    reply = ops(OPERATOR, "PATCH", "/v1/physics", settings)
    assert reply.status_code == 400
    assert named in message(reply)
    assert link.physics == LinkPhysics()


def test_a_probe_sees_health_and_nothing_else(ops):
    assert ops(PROBE, "GET", "/healthz").json == {"status": "ok"}
    assert ops(OPERATOR, "GET", "/healthz").status_code == 200
    assert ops(PROBE, "GET", "/v1/physics").status_code == 401
    assert ops(PROBE, "PATCH", "/v1/physics", '{"loss_db":3}').status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/v1/physics"])
def test_the_ends_of_the_link_have_no_say_in_its_physics(ops, path):
    assert ops(ALICE, "GET", path).status_code == 401
