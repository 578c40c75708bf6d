"""The quick API: `POST /register_connection` and `GET /get_key`, by SAEs (docs/other-doors.md)."""

from __future__ import annotations

import base64
from dataclasses import replace

from flask import Blueprint, Response, g, request

from kme.entity import Entity
from kme.errors import BadRequest, NotEntitled
from kme.etsi014 import connection_in, connection_json, key_id_in
from kme.etsi014_schemas import KEY_ID, SAE_ID
from kme.limits import check_sae_id
from kme.model import Connection, Key, KeyRequest
from kme.strict_json import integer_in_query
from kme.web.documented import Parameter, documented
from kme.web.door_schemas import CONNECTION, CONNECTION_WANTED, QUICK_KEY, SIZE
from mutual_tls.app import answer


def quick_door(kme: Entity) -> Blueprint:
    door = Blueprint("quick", __name__)

    @door.post("/register_connection")
    @documented(
        "POST",
        "A connection of the caller's, as its master or its slave",
        "201 where it is new, 200 where it was registered before.",
        body=CONNECTION_WANTED,
        body_required=True,
        gives=CONNECTION,
        also=(201,),
    )
    def register_connection() -> Response:
        connection = connection_in(request.get_data())
        source, target = map(kme.settings.kme_named, (connection.source_kme_id, connection.target_kme_id))
        connection = replace(connection, source_kme_id=source, target_kme_id=target)
        kme.catalogue.admit(g.caller.id)
        if g.caller.id not in (connection.master_sae_id, connection.slave_sae_id):
            raise NotEntitled(
                f"master_SAE_ID, slave_SAE_ID: expected one of them to be {g.caller.id}, the SAE of the certificate"
            )
        is_new = kme.registration.connect(connection)
        return answer(connection_json(connection, kme.pool_count(connection)), 201 if is_new else 200)

    @door.get("/get_key")
    @documented(
        "GET",
        "A new key for `slave_host`, or the key that its master has told the id of",
        query=[Parameter("slave_host", SAE_ID), Parameter("key_size", SIZE), Parameter("key_id", KEY_ID)],
        gives=QUICK_KEY,
    )
    def get_key() -> Response:
        request.get_data(cache=False)  # left unread, a body would be taken for the next request on the connection
        slave_sae_id, key_id = _once("slave_host"), _once("key_id")
        if (slave_sae_id is None) == (key_id is None):
            raise BadRequest("expected either slave_host, for a new key, or key_id, for one the master has")
        if key_id is not None:
            key, _ = kme.held_keys.fetch(g.caller.id, key_id_in(key_id, "key_id"))
        else:
            key = _new_key(check_sae_id(slave_sae_id or "", "slave_host"))
        return answer({"key_id": str(key.key_id), "key_data": base64.b64encode(key.bits).decode()})

    def _new_key(slave_sae_id: str) -> Key:
        wanted = KeyRequest()
        if "key_size" in request.args:
            size_bits = integer_in_query(request.args.getlist("key_size"), "key_size")
            kme.catalogue.admit(g.caller.id)
            check_size(size_bits, kme.catalogue.between(g.caller.id, slave_sae_id))
            wanted = KeyRequest(size_bits=size_bits)
        (key,) = kme.delivery.enc_keys(g.caller.id, slave_sae_id, wanted)
        return key

    return door


def check_size(size_bits: int, connection: Connection) -> None:
    """There a larger key is put together from keys of the connection; here it is cut in one piece."""
    if size_bits < 1 or size_bits % connection.key_size_bits:
        raise BadRequest(
            f"key_size: expected a multiple of the connection's {connection.key_size_bits} bits, got {size_bits}"
        )


def _once(name: str) -> str | None:
    values = request.args.getlist(name)
    if len(values) > 1:
        raise BadRequest(f"{name}: expected once in the query, got it {len(values)} times")
    return values[0] if values else None
