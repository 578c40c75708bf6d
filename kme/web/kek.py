"""The key-encryption key as an operator sees it: fingerprints, never the key; and its rotation."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from kme.entity import Entity
from mutual_tls.app import answer


def kek_calls(kme: Entity) -> Blueprint:
    calls = Blueprint("kek", __name__)

    @calls.get("/v1/kek")
    def kek() -> Response:
        return answer(kek_json(kme))

    @calls.post("/v1/kek/rotation")
    def rotation() -> Response:
        kme.kek_rotation.begin()
        return answer(kek_json(kme), 202)

    return calls


def kek_json(kme: Entity) -> dict[str, Any]:
    """`retired`: what values are still wrapped under, none when the last rotation is done; `kept_in`: what guards the
    KEK at rest."""
    status, folder = kme.kek_rotation.status(), kme.keyring.folder
    return {
        "fingerprint": status.current.hex(),
        "retired": [one.hex() for one in status.retired],
        "rewrapped_count": status.rewrapped_count,
        "kept_in": folder.seal.name if folder else "file",
    }
