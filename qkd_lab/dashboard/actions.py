"""What an operator may do from the page. Each is a call at an operator listener, and a line in the feed."""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, Response, abort, request

from mutual_tls.app import answer, json_object, problem
from qkd_lab.dashboard.poller import Poller
from qkd_lab.dashboard.traffic import Traffic
from qkd_lab.lab_folder import LabError
from qkd_lab.link_switch import switch
from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.topology import Link

PHYSICS = {"eve": str, "distance_km": float, "loss_db": float, "depolarizing": float, "misalignment": float}
MESSAGE_TIMEOUT_S = 30.0


def action_calls(network: OperatorCalls, poller: Poller, traffic: Traffic) -> Blueprint:
    calls = Blueprint("actions", __name__, url_prefix="/api")

    @calls.patch("/links/<name>/physics")
    def change_physics(name: str) -> Response:
        link, wanted = _link(name), _members(PHYSICS)
        physics = network.call(link.qlink_id, "PATCH", "/v1/physics", wanted)
        said = ", ".join(f"{what} {value}" for what, value in wanted.items())
        poller.tell(f"an operator set link {name}: {said}", link=name)
        return answer(physics)

    @calls.patch("/links/<name>")
    def stop(name: str) -> Response:
        link, wanted = _link(name), _members({"stopped": bool})
        if "stopped" not in wanted:
            return problem(400, "stopped: expected true or false")
        failed = switch(network, link, stopped=wanted["stopped"])
        poller.tell(f"an operator {'stopped' if wanted['stopped'] else 'let go on'} link {name}", link=name)
        return answer({"link": name, **wanted, "unreached": failed})

    @calls.post("/links/<name>/frame")
    def frame(name: str) -> Response:
        link = _link(name)
        body: dict[str, Any] = {"key_basis_probability": link.protocol.key_basis_probability}
        if link.source.source == "weak-coherent":
            body["mean_photon_number"] = link.source.signal_intensity or 0.5
        return answer(network.call(link.qlink_id, "POST", "/v1/sacrificed-frame", body, MESSAGE_TIMEOUT_S))

    @calls.post("/connections")
    def register() -> Response:
        kinds = {"master": str, "slave": str, "key_size": int, "max_keys_count": int}
        given = _members(kinds)
        if missing := [name for name in kinds if name not in given]:
            return problem(400, f"{missing[0]} is missing")
        homes = {sae: kme for kme, status in poller.statuses.items() for sae in status.get("saes", [])}
        for role in ("master", "slave"):
            if given[role] not in homes:
                return problem(400, f"{role}: no SAE {given[role]!r} is registered: {', '.join(homes) or 'none is'}")
        master, slave = given["master"], given["slave"]
        body = {
            "source_KME_ID": homes[master],
            "target_KME_ID": homes[slave],
            "master_SAE_ID": master,
            "slave_SAE_ID": slave,
            "key_size": given["key_size"],
            "max_keys_count": given["max_keys_count"],
            "max_key_per_request": max(1, min(128, given["max_keys_count"])),
        }
        found = network.call(homes[master], "POST", "/register_connection", body)
        poller.tell(f"an operator registered {master} → {slave}", connection=found.get("connection_id"))
        return answer(found, 201)

    @calls.post("/messages")
    def message() -> Response:
        given = _members({"from": str, "to": str, "text": str, "mode": str})
        sender, receiver = (_demo_sae(role, given.get(role)) for role in ("from", "to"))
        order = {"to": receiver, "text": given.get("text", ""), "mode": given.get("mode", "aes-256-gcm")}
        sent = network.call(sender, "POST", "/v1/messages", order, MESSAGE_TIMEOUT_S)
        inbox = network.call(receiver, "GET", "/v1/inbox")
        received = next((one for one in reversed(inbox) if one["key_IDs"] == sent["key_IDs"]), None)
        poller.tell(f"an operator had {sender} send {receiver} a message under {len(sent['key_IDs'])} key(s)")
        return answer({"sent": {**sent, "text": order["text"]}, "received": received})

    @calls.put("/traffic")
    def switch_traffic() -> Response:
        wanted = _members({"on": bool}).get("on", False)
        traffic.switch(wanted)
        poller.tell(f"an operator switched the demo SAEs' traffic {'on' if wanted else 'off'}")
        return answer({"on": traffic.is_on})

    def _link(name: str) -> Link:
        try:
            return network.quantum_link(name)
        except LabError as error:
            abort(problem(404, str(error)))

    def _demo_sae(role: str, name: str | None) -> str:
        known = [process.name for process in network.processes if process.kind == "sae"]
        if name not in known:
            abort(problem(400, f"{role}: expected a demo SAE: {', '.join(known) or 'there is none'}"))
        return name

    return calls


def _members(kinds: dict[str, type]) -> dict[str, Any]:
    """The request's members, each of its kind; others, and numbers that are none, end the request with 400."""
    assert request.method != "GET"
    found = {}
    for name, value in json_object().items():
        kind = kinds.get(name)
        if kind is None:
            abort(problem(400, f"{name}: not known here; expected {', '.join(kinds)}"))
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            expected = {str: "a text", bool: "true or false", int: "an integer", float: "a number"}[kind]
            abort(problem(400, f"{name}: expected {expected}"))
        found[name] = value
    return found
