"""Faults on purpose: at the listener for SAEs they are made, at the operator's they are set (docs/faults.md)."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from flask import Blueprint, Flask, Response, g, request

from kme.delivery import Delivery, check_request
from kme.errors import TooFewKeys
from kme.faults import NO_FAULTS, FaultKnobs, faults_of
from kme.model import Key, KeyRequest, PoolStatus
from kme.strict_json import object_in
from mutual_tls.app import answer, problem

log = logging.getLogger(__name__)

API = "/api/v1/keys/"
DELIVERIES = ("enc_keys", "dec_keys")


class ClientConnection(Protocol):
    """What a fault can do to the connection a request came by."""

    def cut_off(self) -> None:
        """It ends here: nothing more of an answer is sent."""

    def answer_twice(self) -> None:
        """The octets of the next answer are sent twice."""


class PoolsOrEmpty:
    """A KME's delivery whose pools are empty for masters while the knob says so. Slaves get what masters were given."""

    def __init__(self, delivery: Delivery, knobs: FaultKnobs) -> None:
        self._delivery = delivery
        self._knobs = knobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    def status(self, caller: str, slave_sae_id: str) -> PoolStatus:
        found = self._delivery.status(caller, slave_sae_id)
        return PoolStatus(found.connection, 0) if self._knobs.now.empty_pools else found

    def enc_keys(self, caller: str, slave_sae_id: str, request: KeyRequest, *more: Any, **named: Any) -> list[Key]:
        if not self._knobs.now.empty_pools:
            return self._delivery.enc_keys(caller, slave_sae_id, request, *more, **named)
        # What is wrong with a request is said as ever: only who would have got keys learns that there are none.
        check_request(request, self._delivery.status(caller, slave_sae_id).connection)
        raise TooFewKeys(request.number, 0)


def make_faults(
    app: Flask,
    knobs: FaultKnobs,
    connection: Callable[[dict[str, Any]], ClientConnection],
    chance: Callable[[], float] = random.random,
    sleep: Callable[[float], None] = time.sleep,
) -> Flask:
    """The app of the SAE listener with the other faults. `connection`: that of a request's WSGI environment; `chance`
    gives numbers from 0 to 1, 1 excluded. Callers who are not admitted get 401 as ever."""

    def hits(percentage: float) -> bool:
        return percentage > 0 and chance() * 100 < percentage

    def concerned() -> bool:
        return "caller" in g and request.path.startswith(API)

    @app.before_request
    def refuse() -> Response | None:
        if (faults := knobs.now) is not NO_FAULTS and concerned() and hits(faults.refuse_percentage):
            return problem(503, "refused on purpose (refuse_percentage)", headers={"Retry-After": "1"})
        return None

    @app.after_request
    def disturb(response: Response) -> Response:
        faults = knobs.now
        if faults is NO_FAULTS or not concerned():
            return response
        if faults.delay_s:
            sleep(faults.delay_s)
        # By now the keys are taken from their pool, durably: whatever becomes of the answer, they are delivered.
        is_delivery = response.status_code == 200 and request.path.endswith(DELIVERIES)
        if is_delivery and hits(faults.drop_after_delivery_percentage):
            connection(request.environ).cut_off()
        elif hits(faults.duplicate_reply_percentage):
            connection(request.environ).answer_twice()
        return response

    return app


def fault_routes(knobs: FaultKnobs) -> Blueprint:
    """`GET` and `PUT /v1/faults`, for the operator's app."""
    routes = Blueprint("faults", __name__)

    @routes.get("/v1/faults")
    def faults() -> Response:
        return answer(asdict(knobs.now))

    @routes.put("/v1/faults")
    def set_faults() -> Response:
        """The knobs that the body does not name are off from now on."""
        wanted = faults_of(object_in(request.get_data()))
        knobs.set(wanted)
        log.warning("faults on purpose from now on: %s", wanted)
        return answer(asdict(wanted))

    return routes
