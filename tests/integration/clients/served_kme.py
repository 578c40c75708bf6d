"""One KME as a process of the lab: `services.kme_api` as it stands, on the stores of these tests, with its scheduler
beside it and a QKDE that invents bits.
"""

from __future__ import annotations

import json as json_text
import os
import secrets
from typing import Any

from kme.entity import Entity
from mutual_tls.client import Peer, Reply
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from services import kme_api, kme_parts
from services.listeners import Server
from services.process import run
from services.settings import Settings

BLOCK_BITS = 1 << 18


class InventedBits:
    """Both QKDEs of the link: an order hands one random block over to both KMEs, as `PUT /v1/blocks` has it."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self._owner = owner
        self._kmes = [
            Peer(
                settings.address(f"kme-{site}", "qkde"),
                Identity("kme", f"kme-{site}"),
                Credentials.in_folder(settings.pki / f"qkde-{site}"),
            )
            for site in sorted("ab", key=owner.endswith)  # the owner last: where the other is not ready, it has none
        ]

    def request(self, method: str, path: str, *, json: Any, timeout_s: float) -> Reply:
        block = {"link": json["link"], "owner": self._owner, "length_bits": BLOCK_BITS}
        bits = secrets.token_bytes(BLOCK_BITS // 8)
        for kme in self._kmes:
            kme.request("PUT", f"/v1/blocks/{json['block_id']}", params=block, octets=bits)
        report = {"block_id": json["block_id"], **block, "outcome": "key", "abort_reason": None, "qber": 0.01}
        return Reply(200, json_text.dumps(report | {"secret_bits": BLOCK_BITS}).encode())


def make(settings: Settings) -> Server:
    stores = {"postgres_dsn": os.environ["TEST_POSTGRES_DSN"], "redis_url": os.environ["TEST_REDIS_URL"]}
    kme_parts.Entity = lambda described, **options: Entity(described, **options | stores)
    site = settings.process.removeprefix("kme-")
    kme = kme_parts.entity(settings, site, database_size=kme_api.THREADS)
    kme_api.entity = lambda *_, **__: kme
    server = kme_api.make(settings)
    server._background = kme.scheduler(
        InventedBits(settings, settings.process),
        saes=settings.topology.site(site).saes,
        connections=kme_parts.connections_of(settings.topology, settings.process),
    ).run
    return server


if __name__ == "__main__":
    run(make)
