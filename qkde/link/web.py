"""The HTTP edge of a quantum link: an application for its QKDEs and one for its operator (docs/protocols.md)."""

from __future__ import annotations

from math import nan
from typing import Any
from uuid import UUID

import numpy as np
from flask import Flask, Response, abort, g, request

from mutual_tls.app import answer, json_object, listener_app, operator_app, problem
from mutual_tls.identity import Identity
from qkde.link.aer import SimulationFailed
from qkde.link.frames import MAX_PULSES, FrameConflict, FrameError, FrameInvalid, FrameNotFound
from qkde.link.physics import ImpossiblePhysics
from qkde.link.quantum_link import MAX_ROUNDS, LinkFull, QuantumLink, RoundNotFound
from qkde.link.round_record import RoundRecord
from qkde.link.sacrifice import ImpossibleFrame, sacrificed_frame

DEFAULT_COUNT = 100
OCTETS = "application/octet-stream"
FRAME = "/v1/rounds/<uuid:round_id>/frames/<int:frame>"
STATUS_OF = {FrameInvalid: 400, FrameNotFound: 404, FrameConflict: 409, LinkFull: 503}


def qkd_app(link: QuantumLink, alice: Identity, bob: Identity) -> Flask:
    """Alice's QKDE prepares and closes frames, Bob's measures them; neither may do what is the other's."""
    app = listener_app(f"{link.name}-qkd", lambda caller: caller in (alice, bob), max_body_bytes=4 * MAX_PULSES // 8)

    def only(entitled: Identity) -> None:
        if g.caller != entitled:
            abort(problem(403, f"{g.caller} may not do this on link {link.name}: only {entitled} may"))

    @app.put(f"{FRAME}/preparation")
    def prepare(round_id: UUID, frame: int) -> Response:
        only(alice)
        link.prepare(round_id, frame, _pulses(), request.get_data(cache=False), _intensities())
        return Response(status=204)

    @app.post(f"{FRAME}/measurement")
    def measure(round_id: UUID, frame: int) -> Response:
        only(bob)
        return Response(link.measure(round_id, frame, request.get_data(cache=False)), content_type=OCTETS)

    @app.post(f"{FRAME}/closure")
    def close(round_id: UUID, frame: int) -> Response:
        only(alice)
        link.close(round_id, frame)
        return answer({"closed": True})

    @app.errorhandler(FrameError)
    def refused(error: FrameError) -> Response:
        return problem(STATUS_OF[type(error)], str(error))

    @app.errorhandler(SimulationFailed)
    def failed(error: SimulationFailed) -> Response:
        return problem(500, str(error))

    return app


def ops_app(link: QuantumLink) -> Flask:
    """The link's physics, Eve and what she got of each round, for an operator; its health, for probes as well."""
    app = operator_app(f"{link.name}-ops", max_body_bytes=1 << 14)

    @app.get("/v1/physics")
    def physics() -> Response:
        return _state(link)

    @app.patch("/v1/physics")
    def change() -> Response:
        link.change_physics(**json_object())
        return _state(link)

    @app.get("/v1/rounds")
    def rounds() -> Response:
        """The newest rounds, the newest first."""
        return answer([_round(link, record) for record in link.rounds(_count())])

    @app.get("/v1/rounds/<uuid:round_id>")
    def one_round(round_id: UUID) -> Response:
        return answer(_round(link, link.round(round_id)))

    @app.post("/v1/sacrificed-frame")
    def frame() -> Response:
        """Of no round: neither end ever hears of it."""
        body = json_object()
        if unknown := sorted(set(body) - {"key_basis_probability", "mean_photon_number"}):
            return problem(400, f"{unknown[0]}: expected key_basis_probability, mean_photon_number or nothing")
        return answer({"link": link.name, **sacrificed_frame(link.physics, np.random.default_rng(), **body)})

    @app.errorhandler(ImpossibleFrame)
    def no_frame(error: ImpossibleFrame) -> Response:
        return problem(400, str(error))

    @app.errorhandler(SimulationFailed)
    def failed(error: SimulationFailed) -> Response:
        return problem(500, str(error))

    @app.errorhandler(RoundNotFound)
    def unknown(error: RoundNotFound) -> Response:
        return problem(404, str(error))

    @app.errorhandler(ImpossiblePhysics)
    def impossible(error: ImpossiblePhysics) -> Response:
        return problem(400, f"{error}; nothing was changed")

    return app


def _pulses() -> int:
    text = request.args.get("pulses", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise FrameInvalid(f"pulses in the query: expected a number from 1 to {MAX_PULSES}")
    return int(text)


def _intensities() -> tuple[float, ...]:
    """Mean photon numbers, `0.5,0.1,0.0`; none for single photons."""
    text = request.args.get("intensities")
    try:
        return () if text is None else tuple(map(float, text.split(",")))
    except ValueError:
        return (nan,)  # which no intensity is


def _count() -> int:
    text = request.args.get("count", str(DEFAULT_COUNT))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_ROUNDS):
        abort(problem(400, f"count in the query: expected a number from 1 to {MAX_ROUNDS}"))
    return int(text)


def _round(link: QuantumLink, record: RoundRecord) -> dict[str, Any]:
    return {"link": link.name, **record.to_json()}


def _state(link: QuantumLink) -> Response:
    return answer(
        {
            "link": link.name,
            **link.physics.settings(),
            "frames_measured": link.measured.frame_count,
            "pulses_measured": link.measured.pulse_count,
            "pulses_per_second": link.measured.pulses_per_second,
        }
    )
